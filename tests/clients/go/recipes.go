package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func session(p *program) *concurrency.Session {
	return result(concurrency.NewSession(p.client, concurrency.WithTTL(30)))
}

func mutexes(p *program) {
	first, second := session(p), session(p)
	defer second.Close()
	held, wanted := concurrency.NewMutex(first, "/lock"), concurrency.NewMutex(second, "/lock")
	must(held.Lock(p.ctx))
	p.say("lock.held", strings.HasPrefix(held.Key(), "/lock/"), result(p.client.Txn(p.ctx).If(held.IsOwner()).Commit()).Succeeded)
	p.say("lock.try", wanted.TryLock(p.ctx))
	waiting := make(chan error, 1)
	go func() { waiting <- wanted.Lock(p.ctx) }()
	must(held.Unlock(p.ctx))
	p.say("lock.handed over", next(waiting, "lock"))
	again := make(chan error, 1)
	go func() { again <- held.Lock(p.ctx) }()
	must(second.Close()) // revokes the lease, and so gives the lock away
	p.say("lock.after the session", next(again, "lock"))
	must(held.Unlock(p.ctx))
	must(first.Close())
	p.say("lock.left", result(p.client.Get(p.ctx, "/lock", clientv3.WithPrefix())).Count)
}

func elections(p *program) {
	first, second := session(p), session(p)
	defer first.Close()
	defer second.Close()
	one, two := concurrency.NewElection(first, "/election"), concurrency.NewElection(second, "/election")
	p.say("election.nobody", failure(one.Leader(p.ctx)))
	must(one.Campaign(p.ctx, "one"))
	p.say("election.leader", string(result(two.Leader(p.ctx)).Kvs[0].Value))
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	observed := two.Observe(ctx)
	p.say("election.observed", string(next(observed, "leader").Kvs[0].Value))
	must(one.Proclaim(p.ctx, "uno"))
	p.say("election.proclaimed", string(next(observed, "proclamation").Kvs[0].Value))
	won := make(chan error, 1)
	go func() { won <- two.Campaign(p.ctx, "two") }()
	must(one.Resign(p.ctx))
	p.say("election.won", next(won, "election"), string(next(observed, "successor").Kvs[0].Value))
	p.say("election.not the leader", one.Proclaim(p.ctx, "x"))
	resumed := concurrency.ResumeElection(second, "/election", two.Key(), two.Rev())
	must(resumed.Resign(p.ctx))
	p.say("election.resigned", failure(one.Leader(p.ctx)))
}

// softwareTransactions moves money between accounts from several sides at once.
func softwareTransactions(p *program) {
	result(p.client.Put(p.ctx, "stm/a", "100"))
	result(p.client.Put(p.ctx, "stm/b", "0"))
	move := func(stm concurrency.STM) error {
		var from, to int
		fmt.Sscan(stm.Get("stm/a"), &from)
		fmt.Sscan(stm.Get("stm/b"), &to)
		stm.Put("stm/a", fmt.Sprint(from-1))
		stm.Put("stm/b", fmt.Sprint(to+1))
		return nil
	}
	isolations := []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads}
	var movers sync.WaitGroup
	for _, isolation := range isolations {
		movers.Add(1)
		go func() {
			defer movers.Done()
			for range 5 {
				result(concurrency.NewSTM(p.client, move, concurrency.WithIsolation(isolation)))
			}
		}()
	}
	movers.Wait()
	got := result(p.client.Get(p.ctx, "stm/", clientv3.WithPrefix()))
	p.say("stm.moved", string(got.Kvs[0].Value), string(got.Kvs[1].Value), got.Kvs[0].Version)
	p.say("stm.aborted", failure(concurrency.NewSTM(p.client, func(concurrency.STM) error { return fmt.Errorf("no") })))
}
