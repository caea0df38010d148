package main

import (
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// shown returns key-value pairs with every field that a client can see but the lease.
func shown(kvs ...*mvccpb.KeyValue) string {
	all := make([]string, len(kvs))
	for i, kv := range kvs {
		if kv == nil {
			all[i] = "none"
			continue
		}
		all[i] = fmt.Sprintf("%s=%s(%d,%d,%d)", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version)
	}
	return "[" + strings.Join(all, " ") + "]"
}

func keys(p *program) {
	c := p.client
	for _, key := range []string{"kv/a", "kv/b", "kv/c", "kv/b"} {
		put := result(c.Put(p.ctx, key, key, clientv3.WithPrevKV()))
		p.say("kv.put", key, put.Header.Revision, shown(put.PrevKv))
	}
	queries := []struct {
		name    string
		key     string
		options []clientv3.OpOption
	}{
		{"one", "kv/b", nil},
		{"none", "kv/none", nil},
		{"prefix", "kv/", []clientv3.OpOption{clientv3.WithPrefix()}},
		{"range", "kv/a", []clientv3.OpOption{clientv3.WithRange("kv/c")}},
		{"from", "kv/b", []clientv3.OpOption{clientv3.WithFromKey()}},
		{"limit", "kv/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithLimit(2)}},
		{"old", "kv/b", []clientv3.OpOption{clientv3.WithRev(3)}},
		{"count", "kv/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithCountOnly()}},
		{"keys", "kv/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithKeysOnly()}},
		{"serializable", "kv/a", []clientv3.OpOption{clientv3.WithSerializable()}},
		{"last created", "kv/", clientv3.WithLastCreate()},
		{"last modified", "kv/", clientv3.WithLastRev()},
		{"first version", "kv/", []clientv3.OpOption{clientv3.WithPrefix(),
			clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend)}},
		{"modified since", "kv/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithMinModRev(4)}},
		{"created until", "kv/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithMaxCreateRev(3)}},
	}
	for _, query := range queries {
		got := result(c.Get(p.ctx, query.key, query.options...))
		p.say("kv.get "+query.name, got.Header.Revision, got.Count, got.More, shown(got.Kvs...))
	}
	p.say("kv.future", failure(c.Get(p.ctx, "kv/a", clientv3.WithRev(1000))))
	p.say("kv.empty key", failure(c.Put(p.ctx, "", "x")))
	p.say("kv.unknown lease", failure(c.Put(p.ctx, "kv/a", "x", clientv3.WithLease(12345))))
	p.say("kv.ignore value of none", failure(c.Put(p.ctx, "kv/none", "", clientv3.WithIgnoreValue())))
	deleted := result(c.Delete(p.ctx, "kv/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	p.say("kv.delete", deleted.Header.Revision, deleted.Deleted, shown(deleted.PrevKvs...))
	p.say("kv.compact", result(c.Compact(p.ctx, 4)).Header.Revision)
	p.say("kv.compacted", failure(c.Get(p.ctx, "kv/a", clientv3.WithRev(3))))
	p.say("kv.compact again", failure(c.Compact(p.ctx, 3)))
}

func transactions(p *program) {
	c := p.client
	result(c.Put(p.ctx, "txn/a", "1"))
	compares := map[string]clientv3.Cmp{
		"1 value": clientv3.Compare(clientv3.Value("txn/a"), "=", "1"),
		"2 other": clientv3.Compare(clientv3.Value("txn/a"), ">", "1"),
		"3 none":  clientv3.Compare(clientv3.CreateRevision("txn/b"), "=", 0),
		"4 count": clientv3.Compare(clientv3.Version("txn/a"), "<", 2),
		"5 lease": clientv3.Compare(clientv3.LeaseValue("txn/a"), "=", 0),
		"6 all":   clientv3.Compare(clientv3.ModRevision("txn/"), "!=", 0).WithPrefix(),
	}
	for _, name := range sorted(compares) {
		done := result(c.Txn(p.ctx).If(compares[name]).
			Then(clientv3.OpGet("txn/a")).Else(clientv3.OpGet("txn/b")).Commit())
		p.say("txn.compare "+name, done.Succeeded, done.Header.Revision)
	}
	inner := clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("txn/inner", "2"), clientv3.OpGet("txn/outer")}, nil)
	nested := result(c.Txn(p.ctx).Then(clientv3.OpPut("txn/outer", "1"), inner).Commit())
	seen := nested.Responses[1].GetResponseTxn().Responses[1].GetResponseRange()
	p.say("txn.nested", nested.Header.Revision, shown(seen.Kvs...))
	twice := clientv3.OpPut("txn/twice", "x")
	p.say("txn.twice", failure(c.Txn(p.ctx).Then(twice, twice).Commit()))
	many := make([]clientv3.Op, 129)
	for i := range many {
		many[i] = clientv3.OpPut(fmt.Sprintf("txn/many/%d", i), "x")
	}
	p.say("txn.too many", failure(c.Txn(p.ctx).Then(many...).Commit()))
	deleted := result(c.Txn(p.ctx).Then(clientv3.OpDelete("txn/", clientv3.WithPrefix())).Commit())
	p.say("txn.delete", deleted.Responses[0].GetResponseDeleteRange().Deleted)
}

func limits(p *program) {
	_, err := p.client.Put(p.ctx, "limits/large", strings.Repeat("x", 3<<19+1))
	p.say("limits.value", err)
	_, err = p.client.Put(p.ctx, "limits/larger", strings.Repeat("x", 4<<20))
	p.say("limits.message", err)
	fits := strings.Repeat("x", 3<<19-512)
	p.say("limits.fits", result(p.client.Put(p.ctx, "limits/fits", fits)).Header.Revision)
	p.say("limits.read", len(result(p.client.Get(p.ctx, "limits/fits")).Kvs[0].Value))
}
