package main

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// received returns the first events of a watch, whatever responses they come in.
func received(channel clientv3.WatchChan, count int) string {
	var all []string
	for len(all) < count {
		response := next(channel, "events")
		must(response.Err())
		for _, event := range response.Events {
			all = append(all, fmt.Sprintf("%s%s<-%s", event.Type, shown(event.Kv), shown(event.PrevKv)))
		}
	}
	return strings.Join(all, " ")
}

func watches(p *program) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	c := p.client
	begin := result(c.Get(ctx, "watch/a")).Header.Revision
	all := c.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	p.say("watch.created", next(all, "created").Created)
	result(c.Put(ctx, "watch/a", "1"))
	result(c.Put(ctx, "watch/a", "2"))
	result(c.Txn(ctx).Then(clientv3.OpPut("watch/b", "3"), clientv3.OpDelete("watch/a")).Commit())
	result(c.Delete(ctx, "watch/", clientv3.WithPrefix()))
	p.say("watch.events", received(all, 5))
	past := c.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(begin+1))
	p.say("watch.history", received(past, 5))
	deletes := c.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithRev(begin+1), clientv3.WithFilterPut())
	p.say("watch.only deletes", received(deletes, 2))
	puts := c.Watch(ctx, "watch/a", clientv3.WithRev(begin+1), clientv3.WithFilterDelete())
	p.say("watch.only puts", received(puts, 2))
	watchProgress(p)
	watchFragments(p)
	result(c.Compact(ctx, begin+3))
	gone := next(c.Watch(ctx, "watch/a", clientv3.WithRev(begin+1)), "compacted")
	p.say("watch.compacted", gone.Canceled, gone.CompactRevision, gone.Err())
}

// watchProgress asks for progress on a stream of its own: the answer counts for all its watches.
func watchProgress(p *program) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(p.ctx))
	defer cancel()
	idle := p.client.Watch(ctx, "watch/idle", clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	next(idle, "created")
	revision := result(p.client.Put(ctx, "watch/elsewhere", "1")).Header.Revision
	must(p.client.RequestProgress(ctx))
	progress := next(idle, "progress")
	p.say("watch.progress", progress.IsProgressNotify(), progress.Header.Revision == revision)
}

// watchFragments has a revision whose events are more than one message may hold.
func watchFragments(p *program) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	whole := p.client.Watch(ctx, "watch/big/", clientv3.WithPrefix(), clientv3.WithFragment())
	value := strings.Repeat("x", 700<<10)
	count := 4
	for i := range count {
		result(p.client.Put(ctx, fmt.Sprintf("watch/big/%d", i), value))
	}
	result(p.client.Delete(ctx, "watch/big/", clientv3.WithPrefix()))
	bytes, events := 0, 0
	for events < 2*count {
		response := next(whole, "fragments")
		for _, event := range response.Events {
			bytes += len(event.Kv.Value)
			events++
		}
	}
	p.say("watch.fragments", events, bytes)
}
