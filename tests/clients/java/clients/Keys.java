package clients;

import static clients.Conversation.bytes;
import static clients.Conversation.failure;
import static clients.Conversation.result;
import static clients.Conversation.say;
import static clients.Conversation.shown;
import static io.etcd.jetcd.options.GetOption.SortOrder.DESCEND;
import static io.etcd.jetcd.options.GetOption.SortTarget.MOD;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;

/** Keys, transactions and limits. */
final class Keys {
  private final KV kv;

  Keys(Client client) {
    kv = client.getKVClient();
  }

  void keys() throws Exception {
    for (String key : new String[] {"kv/a", "kv/b", "kv/c"}) {
      say("kv.put", key, result(kv.put(bytes(key), bytes(key))).getHeader().getRevision());
    }
    PutOption previous = PutOption.builder().withPrevKV().build();
    say("kv.previous", shown(result(kv.put(bytes("kv/b"), bytes("again"), previous)).getPrevKv()));
    get("one", "kv/b", GetOption.builder());
    get("none", "kv/none", GetOption.builder());
    get("prefix", "kv/", GetOption.builder().isPrefix(true));
    get("range", "kv/a", GetOption.builder().withRange(bytes("kv/c")).withSerializable(true));
    get("limit", "kv/", GetOption.builder().isPrefix(true).withLimit(2));
    get("newest", "kv/", GetOption.builder().isPrefix(true).withSortField(MOD).withSortOrder(DESCEND));
    get("old", "kv/b", GetOption.builder().withRevision(3));
    get("keys", "kv/", GetOption.builder().isPrefix(true).withKeysOnly(true));
    get("count", "kv/", GetOption.builder().isPrefix(true).withCountOnly(true));
    get("since", "kv/", GetOption.builder().isPrefix(true).withMinModRevision(4));
    say("kv.future", failure(kv.get(bytes("kv/a"), GetOption.builder().withRevision(1000).build())));
    say("kv.empty key", failure(kv.put(bytes(""), bytes("x"))));
    PutOption unknown = PutOption.builder().withLeaseId(12345).build();
    say("kv.unknown lease", failure(kv.put(bytes("kv/a"), bytes("x"), unknown)));
    DeleteOption all = DeleteOption.builder().isPrefix(true).withPrevKV(true).build();
    say("kv.delete", shown(result(kv.delete(bytes("kv/"), all)).getPrevKvs()));
    say("kv.compact", result(kv.compact(4)).getHeader().getRevision());
    say("kv.compacted", failure(kv.get(bytes("kv/a"), GetOption.builder().withRevision(3).build())));
  }

  private void get(String name, String key, GetOption.Builder options) throws Exception {
    GetResponse got = result(kv.get(bytes(key), options.build()));
    say("kv.get " + name, got.getCount(), got.isMore(), shown(got.getKvs()));
  }

  void transactions() throws Exception {
    result(kv.put(bytes("txn/a"), bytes("1")));
    compare("value", new Cmp(bytes("txn/a"), Cmp.Op.EQUAL, CmpTarget.value(bytes("1"))));
    compare("other", new Cmp(bytes("txn/a"), Cmp.Op.NOT_EQUAL, CmpTarget.value(bytes("1"))));
    compare("version", new Cmp(bytes("txn/a"), Cmp.Op.LESS, CmpTarget.version(2)));
    compare("none", new Cmp(bytes("txn/none"), Cmp.Op.EQUAL, CmpTarget.createRevision(0)));
    compare("modified", new Cmp(bytes("txn/a"), Cmp.Op.GREATER, CmpTarget.modRevision(1000)));
    Op outer = Op.put(bytes("txn/outer"), bytes("1"), PutOption.DEFAULT);
    Op inner = Op.txn(null, new Op[] {Op.get(bytes("txn/outer"), GetOption.DEFAULT)}, null);
    TxnResponse nested = result(kv.txn().Then(outer, inner).commit());
    say("txn.nested", shown(nested.getTxnResponses().get(0).getGetResponses().get(0).getKvs()));
    say("txn.twice", failure(kv.txn().Then(outer, outer).commit()));
    Op delete = Op.delete(bytes("txn/"), DeleteOption.builder().isPrefix(true).build());
    say("txn.delete", result(kv.txn().Then(delete).commit()).getDeleteResponses().get(0).getDeleted());
  }

  private void compare(String name, Cmp comparison) throws Exception {
    Op put = Op.put(bytes("txn/b"), bytes(name), PutOption.DEFAULT);
    Op get = Op.get(bytes("txn/"), GetOption.builder().isPrefix(true).build());
    TxnResponse done = result(kv.txn().If(comparison).Then(put).Else(get).commit());
    say("txn." + name, done.isSucceeded(), done.getHeader().getRevision(), done.getGetResponses().size());
  }

  void limits() throws Exception {
    say("limits.value", failure(kv.put(bytes("limits/large"), bytes("x".repeat((3 << 19) + 1)))));
    result(kv.put(bytes("limits/fits"), bytes("x".repeat((3 << 19) - 512))));
    say("limits.read", result(kv.get(bytes("limits/fits"))).getKvs().get(0).getValue().size());
  }
}
