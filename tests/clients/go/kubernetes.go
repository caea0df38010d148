package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// What kube-apiserver asks of its store, in its own way: objects are keys whose mod_revision is
// their resourceVersion, and every write compares it.

const registry = "/registry/pods/"

// created writes an object that must not be there yet.
func created(p *program, name, value string, options ...clientv3.OpOption) *clientv3.TxnResponse {
	key := registry + name
	return result(p.client.KV.Txn(p.ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value, options...)).Commit())
}

// updated writes an object that must still be at a revision; else it reads what is there.
func updated(p *program, name, value string, revision int64) *clientv3.TxnResponse {
	key := registry + name
	return result(p.client.KV.Txn(p.ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, value)).Else(clientv3.OpGet(key)).Commit())
}

func deleted(p *program, name string, revision int64) *clientv3.TxnResponse {
	key := registry + name
	return result(p.client.KV.Txn(p.ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpDelete(key)).Else(clientv3.OpGet(key)).Commit())
}

func objects(p *program) {
	first := created(p, "default/a", "1")
	p.say("k8s.create", first.Succeeded, first.Header.Revision)
	p.say("k8s.create again", created(p, "default/a", "2").Succeeded)
	update := updated(p, "default/a", "2", first.Header.Revision)
	p.say("k8s.update", update.Succeeded, update.Header.Revision)
	conflict := updated(p, "default/a", "3", first.Header.Revision)
	p.say("k8s.conflict", conflict.Succeeded, shown(conflict.Responses[0].GetResponseRange().Kvs...))
	stale := deleted(p, "default/a", first.Header.Revision)
	p.say("k8s.delete of a stale one", stale.Succeeded, shown(stale.Responses[0].GetResponseRange().Kvs...))
	gone := deleted(p, "default/a", update.Header.Revision)
	p.say("k8s.delete", gone.Succeeded, gone.Responses[0].GetResponseDeleteRange().Deleted)
	missing := updated(p, "default/a", "3", 0)
	p.say("k8s.create by update", missing.Succeeded)
	status := result(p.client.Status(p.ctx, p.endpoint))
	p.say("k8s.size", status.DbSize > 0, status.DbSizeInUse > 0, strings.HasPrefix(status.Version, "3."))
}

// lists pages at the revision of the first page, while others go on writing.
func lists(p *program) {
	for i := range 7 {
		created(p, fmt.Sprintf("list/%d", i), "1")
	}
	prefix := registry + "list/"
	from, revision := prefix, int64(0)
	for page := 1; ; page++ {
		options := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(3)}
		if revision > 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		got := result(p.client.KV.Get(p.ctx, from, options...))
		if revision == 0 {
			revision = got.Header.Revision
		}
		p.say(fmt.Sprint("k8s.page ", page), got.Count, got.More, len(got.Kvs), string(got.Kvs[0].Key))
		if !got.More {
			break
		}
		from = string(got.Kvs[len(got.Kvs)-1].Key) + "\x00"
		created(p, fmt.Sprintf("list/9%d", page), "later")
		current := result(p.client.KV.Get(p.ctx, prefix+"3"))
		deleted(p, "list/3", current.Header.Revision+1) // a conflict: changes nothing
	}
	count := result(p.client.KV.Get(p.ctx, prefix, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithCountOnly()))
	p.say("k8s.count", count.Count)
}

// informers list, then watch from the list's revision with bookmarks.
func informers(p *program) {
	created(p, "watch/a", "1")
	listed := result(p.client.KV.Get(p.ctx, registry+"watch/", clientv3.WithPrefix()))
	update := updated(p, "watch/a", "2", listed.Kvs[0].ModRevision)
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(p.ctx))
	defer cancel()
	watch := p.client.Watch(ctx, registry+"watch/", clientv3.WithPrefix(), clientv3.WithPrevKV(),
		clientv3.WithRev(listed.Header.Revision+1), clientv3.WithProgressNotify())
	p.say("k8s.informed", received(watch, 1))
	elsewhere := created(p, "elsewhere/a", "1")
	must(p.client.RequestProgress(ctx))
	bookmark := next(watch, "bookmark")
	p.say("k8s.bookmark", bookmark.IsProgressNotify(), bookmark.Header.Revision >= elsewhere.Header.Revision)
	p.ask("restart")
	p.ask("etcdctl", "put", registry+"watch/b", "3")
	p.say("k8s.informed on", received(watch, 1))
	deleted(p, "watch/a", update.Header.Revision)
	p.say("k8s.informed of the end", received(watch, 1))
}

// compactor is the protocol by which several apiservers agree which of them compacts.
func compactor(p *program) {
	version, revision := int64(0), int64(0)
	compact := func(who string) {
		at := fmt.Sprint(revision)
		done := result(p.client.KV.Txn(p.ctx).
			If(clientv3.Compare(clientv3.Version("compact_rev_key"), "=", version)).
			Then(clientv3.OpPut("compact_rev_key", at)).
			Else(clientv3.OpGet("compact_rev_key")).Commit())
		if !done.Succeeded {
			kv := done.Responses[0].GetResponseRange().Kvs[0]
			version = kv.Version
			revision = result(strconv.ParseInt(string(kv.Value), 10, 64))
			p.say("k8s.compactor "+who, "another was first", version, revision > 0)
			return
		}
		version++
		if revision > 0 {
			result(p.client.Compact(p.ctx, revision))
		}
		p.say("k8s.compactor "+who, "compacted", version, revision > 0)
		revision = done.Header.Revision
	}
	compact("a")
	compact("a")
	version = 0
	compact("b")
	compacted := result(p.client.KV.Get(p.ctx, "compact_rev_key"))
	p.say("k8s.compacted", string(compacted.Kvs[0].Value))
	p.say("k8s.list too old", failure(p.client.KV.Get(p.ctx, registry, clientv3.WithPrefix(), clientv3.WithRev(2))))
	old := next(p.client.Watch(p.ctx, registry, clientv3.WithPrefix(), clientv3.WithRev(2)), "cancelled watch")
	p.say("k8s.watch too old", old.Err(), old.CompactRevision > 2)
}

// events live on leases that many of them share.
func events(p *program) {
	lease := result(p.client.Grant(p.ctx, 3600))
	for i := range 3 {
		created(p, fmt.Sprintf("events/%d", i), "1", clientv3.WithLease(lease.ID))
	}
	left := result(p.client.TimeToLive(p.ctx, lease.ID, clientv3.WithAttachedKeys()))
	p.say("k8s.events", len(left.Keys), left.TTL > 3500)
	result(p.client.Revoke(p.ctx, lease.ID))
	p.say("k8s.events gone", result(p.client.KV.Get(p.ctx, registry+"events/", clientv3.WithPrefix())).Count)
}
