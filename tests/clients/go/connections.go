package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// reconnection has the server killed and started again under a watch and a kept lease.
func reconnection(p *program) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	lease := result(p.client.Grant(ctx, 30))
	kept := result(p.client.KeepAlive(ctx, lease.ID))
	next(kept, "keep-alive")
	result(p.client.Put(ctx, "reconnect/leased", "1", clientv3.WithLease(lease.ID)))
	watch := p.client.Watch(ctx, "reconnect/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	result(p.client.Put(ctx, "reconnect/a", "before"))
	p.say("reconnect.before", received(watch, 1))
	p.ask("restart")
	for _, value := range []string{"1", "2", "3"} {
		p.ask("etcdctl", "put", "reconnect/a", value)
	}
	p.say("reconnect.missed nothing", received(watch, 3))
	p.say("reconnect.writes", result(p.client.Put(ctx, "reconnect/b", "after")).Header.Revision)
	p.say("reconnect.goes on", received(watch, 1))
	p.say("reconnect.lease", result(p.client.KeepAliveOnce(ctx, lease.ID)).TTL)
	p.say("reconnect.leased key", result(p.client.Get(ctx, "reconnect/leased")).Count)
	result(p.client.Revoke(ctx, lease.ID))
}

// tlsConnections speaks to a server that wants certificates and has authentication on.
func tlsConnections(p *program) {
	mine := p.certificate("ann")
	ann := p.connect(clientv3.Config{Endpoints: []string{p.tlsEndpoint}, TLS: mine})
	defer ann.Close()
	result(ann.Put(p.ctx, "shop/a", "1"))
	p.say("tls.by common name", result(ann.Get(p.ctx, "shop/a")).Count)
	p.say("tls.denied", failure(ann.Put(p.ctx, "other", "1")))
	named := p.connect(clientv3.Config{
		Endpoints: []string{p.tlsEndpoint}, TLS: mine, Username: "bob", Password: "bobpw",
	})
	defer named.Close()
	p.say("tls.by password", failure(named.Put(p.ctx, "shop/a", "1")))
	watch := ann.Watch(p.ctx, "shop/", clientv3.WithPrefix())
	result(ann.Put(p.ctx, "shop/b", "2"))
	p.say("tls.watch", string(next(watch, "event").Events[0].Kv.Value))
	p.say("tls.no certificate", p.refused(&tls.Config{RootCAs: mine.RootCAs}))
	p.say("tls.unknown authority", p.refused(&tls.Config{Certificates: mine.Certificates}))
}

// refused tells whether a connection comes to nothing; how is the TLS library's business.
func (p *program) refused(config *tls.Config) bool {
	client := p.connect(clientv3.Config{Endpoints: []string{p.tlsEndpoint}, TLS: config})
	defer client.Close()
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	_, err := client.Get(ctx, "shop/a")
	return err != nil
}

func (p *program) certificate(name string) *tls.Config {
	file := func(kind string) string { return filepath.Join(p.certificates, fmt.Sprintf("%s.%s", name, kind)) }
	info := transport.TLSInfo{
		CertFile: file("crt"), KeyFile: file("key"), TrustedCAFile: filepath.Join(p.certificates, "ca.crt"),
	}
	return result(info.ClientConfig())
}
