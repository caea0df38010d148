package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func leases(p *program) {
	c := p.client
	lease := result(c.Grant(p.ctx, 600))
	p.say("lease.grant", lease.TTL)
	result(c.Put(p.ctx, "lease/a", "1", clientv3.WithLease(lease.ID)))
	result(c.Put(p.ctx, "lease/b", "1", clientv3.WithLease(lease.ID)))
	left := result(c.TimeToLive(p.ctx, lease.ID, clientv3.WithAttachedKeys()))
	p.say("lease.time to live", left.GrantedTTL, left.TTL > 500, len(left.Keys), string(left.Keys[0]))
	p.say("lease.attached", result(c.Get(p.ctx, "lease/a")).Kvs[0].Lease == int64(lease.ID))
	p.say("lease.list", len(result(c.Leases(p.ctx)).Leases))
	p.say("lease.keep alive once", result(c.KeepAliveOnce(p.ctx, lease.ID)).TTL)
	result(c.Revoke(p.ctx, lease.ID))
	p.say("lease.revoked", result(c.Get(p.ctx, "lease/", clientv3.WithPrefix())).Count)
	p.say("lease.revoke again", failure(c.Revoke(p.ctx, lease.ID)))
	p.say("lease.keep alive of none", failure(c.KeepAliveOnce(p.ctx, lease.ID)))
	p.say("lease.time to live of none", result(c.TimeToLive(p.ctx, lease.ID)).TTL)
	p.say("lease.too long", failure(c.Grant(p.ctx, 9_000_000_001)))
	expiry(p)
}

// expiry has one lease end by itself while another is kept alive for longer than its time.
func expiry(p *program) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	ends, stays := result(p.client.Grant(ctx, 2)), result(p.client.Grant(ctx, 3))
	kept := result(p.client.KeepAlive(ctx, stays.ID))
	gone := p.client.Watch(ctx, "expiry/ends", clientv3.WithFilterPut())
	result(p.client.Put(ctx, "expiry/ends", "1", clientv3.WithLease(ends.ID)))
	result(p.client.Put(ctx, "expiry/stays", "1", clientv3.WithLease(stays.ID)))
	p.say("lease.kept", next(kept, "keep-alive").TTL)
	p.say("lease.expired", next(gone, "expiry").Events[0].Type)
	for range 4 { // one a second
		next(kept, "keep-alive")
	}
	p.say("lease.still there", result(p.client.Get(ctx, "expiry/", clientv3.WithPrefix())).Count)
	result(p.client.Revoke(ctx, stays.ID))
	for range kept { // ends because the lease has
	}
	p.say("lease.keep-alive ended")
}
