package main

import clientv3 "go.etcd.io/etcd/client/v3"

func authentication(p *program) {
	anybody := p.client
	result(anybody.UserAdd(p.ctx, "root", "rootpw"))
	p.say("auth.enable too early", failure(anybody.AuthEnable(p.ctx)))
	result(anybody.UserGrantRole(p.ctx, "root", "root"))
	result(anybody.UserAdd(p.ctx, "ann", "annpw"))
	p.say("auth.user twice", failure(anybody.UserAdd(p.ctx, "ann", "x")))
	result(anybody.RoleAdd(p.ctx, "reader"))
	readWrite, readOnly := clientv3.PermissionType(clientv3.PermReadWrite), clientv3.PermissionType(clientv3.PermRead)
	result(anybody.RoleGrantPermission(p.ctx, "reader", "auth/a/", clientv3.GetPrefixRangeEnd("auth/a/"), readWrite))
	result(anybody.RoleGrantPermission(p.ctx, "reader", "auth/r", "", readOnly))
	result(anybody.UserGrantRole(p.ctx, "ann", "reader"))
	for _, permission := range result(anybody.RoleGet(p.ctx, "reader")).Perm {
		p.say("auth.permission", permission.PermType, string(permission.Key), string(permission.RangeEnd))
	}
	p.say("auth.users", result(anybody.UserList(p.ctx)).Users, result(anybody.UserGet(p.ctx, "ann")).Roles)
	result(anybody.AuthEnable(p.ctx))
	p.say("auth.nobody", failure(anybody.Get(p.ctx, "auth/a/1")))
	_, err := clientv3.New(clientv3.Config{Endpoints: []string{p.endpoint}, Username: "ann", Password: "wrong"})
	p.say("auth.wrong password", err)

	ann := p.connect(clientv3.Config{Username: "ann", Password: "annpw"})
	defer ann.Close()
	root := p.connect(clientv3.Config{Username: "root", Password: "rootpw"})
	defer root.Close()
	p.permitted(ann)
	p.say("auth.status", result(root.AuthStatus(p.ctx)).Enabled)

	watch := ann.Watch(p.ctx, "auth/a/", clientv3.WithPrefix())
	result(ann.Put(p.ctx, "auth/a/w", "1"))
	next(watch, "event")
	p.ask("restart") // simple tokens do not outlive the server: clients log in anew
	result(ann.Put(p.ctx, "auth/a/w", "2"))
	p.say("auth.watch goes on", string(next(watch, "event").Events[0].Kv.Value))
	result(root.UserChangePassword(p.ctx, "ann", "new"))
	_, err = clientv3.New(clientv3.Config{Endpoints: []string{p.endpoint}, Username: "ann", Password: "annpw"})
	p.say("auth.old password", err)
	result(root.RoleRevokePermission(p.ctx, "reader", "auth/r", ""))
	result(root.UserRevokeRole(p.ctx, "ann", "reader"))
	result(root.RoleDelete(p.ctx, "reader"))
	result(root.UserDelete(p.ctx, "ann"))
	result(root.AuthDisable(p.ctx))
	result(anybody.UserDelete(p.ctx, "root"))
	p.say("auth.off", result(anybody.Get(p.ctx, "auth/a/w")).Count)
}

// permitted tries what ann may and may not.
func (p *program) permitted(ann *clientv3.Client) {
	result(ann.Put(p.ctx, "auth/a/1", "1"))
	p.say("auth.read", result(ann.Get(p.ctx, "auth/a/", clientv3.WithPrefix())).Count)
	p.say("auth.write of read-only", failure(ann.Put(p.ctx, "auth/r", "1")))
	p.say("auth.read of others'", failure(ann.Get(p.ctx, "auth/b")))
	p.say("auth.range beyond", failure(ann.Get(p.ctx, "auth/", clientv3.WithPrefix())))
	p.say("auth.administer", failure(ann.UserAdd(p.ctx, "eve", "x")))
	p.say("auth.txn", failure(ann.Txn(p.ctx).Then(clientv3.OpPut("auth/a/1", "2"), clientv3.OpPut("auth/b", "2")).Commit()))
	denied := next(ann.Watch(p.ctx, "auth/b"), "denied watch")
	p.say("auth.watch", denied.Canceled, denied.Err())
}
