package main

import (
	"maps"
	"slices"
)

// sorted returns a map's keys in order.
func sorted[T any](all map[string]T) []string {
	return slices.Sorted(maps.Keys(all))
}
