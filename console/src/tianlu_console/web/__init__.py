"""What all pages share: templates, languages, assets, security headers, error pages."""
