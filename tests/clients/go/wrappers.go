package main

import (
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

// wrappers are the client's packages that stand on it: namespace, ordering, leasing, mirror.
func wrappers(p *program) {
	named := namespace.NewKV(p.client.KV, "space/")
	watched := namespace.NewWatcher(p.client.Watcher, "space/").Watch(p.ctx, "", clientv3.WithPrefix())
	ordered := ordering.NewKV(named, func(clientv3.Op, clientv3.OpResponse, int64) error { return nil })
	for _, key := range []string{"a", "b"} {
		result(ordered.Put(p.ctx, key, "1"))
	}
	got := result(ordered.Get(p.ctx, "", clientv3.WithPrefix()))
	p.say("namespace.keys", got.Count, string(got.Kvs[0].Key), string(got.Kvs[1].Key))
	p.say("namespace.watch", string(next(watched, "event").Events[0].Kv.Key))
	p.say("namespace.outside", result(p.client.Get(p.ctx, "space/", clientv3.WithPrefix())).Count)
	cached(p)
	mirrored(p)
}

// cached reads from the memory of a client that holds the key's lease, until another one writes.
func cached(p *program) {
	mine, closeMine, err := leasing.NewKV(p.client, "leasing/")
	must(err)
	defer closeMine()
	theirs, closeTheirs, err := leasing.NewKV(p.connect(clientv3.Config{}), "leasing/")
	must(err)
	defer closeTheirs()
	result(mine.Put(p.ctx, "cached/a", "1"))
	for range 2 {
		p.say("leasing.read", shown(result(mine.Get(p.ctx, "cached/a")).Kvs...) != "[]")
	}
	result(theirs.Put(p.ctx, "cached/a", "2"))
	p.say("leasing.after another's write", string(result(mine.Get(p.ctx, "cached/a")).Kvs[0].Value))
}

func mirrored(p *program) {
	for i := range 3 {
		result(p.client.Put(p.ctx, fmt.Sprintf("mirror/%d", i), "1"))
	}
	syncer := mirror.NewSyncer(p.client, "mirror/", 0)
	base, failed := syncer.SyncBase(p.ctx)
	count := 0
	for response := range base {
		count += len(response.Kvs)
	}
	must(<-failed)
	updates := syncer.SyncUpdates(p.ctx)
	result(p.client.Put(p.ctx, "mirror/3", "1"))
	p.say("mirror.copied", count, string(next(updates, "update").Events[0].Kv.Key))
}
