package clients;

import static clients.Conversation.ask;
import static clients.Conversation.bytes;
import static clients.Conversation.described;
import static clients.Conversation.failure;
import static clients.Conversation.next;
import static clients.Conversation.result;
import static clients.Conversation.say;
import static java.util.concurrent.TimeUnit.MILLISECONDS;

import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.lease.LeaseTimeToLiveResponse;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.support.CloseableClient;
import io.etcd.jetcd.support.Observers;
import io.etcd.jetcd.watch.WatchEvent;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** Watches and leases, and what becomes of them when the server is killed and started again. */
final class Streams {
  private final Client client;
  private final KV kv;
  private final Lease leases;

  Streams(Client client) {
    this.client = client;
    kv = client.getKVClient();
    leases = client.getLeaseClient();
  }

  /** What a watch hears: events, progress, and its end by an error. */
  private static final class Heard {
    final BlockingQueue<String> events = new LinkedBlockingQueue<>();
    final BlockingQueue<Long> progress = new LinkedBlockingQueue<>();
    final BlockingQueue<Throwable> errors = new LinkedBlockingQueue<>();

    List<String> next(int count) throws Exception {
      List<String> all = new ArrayList<>();
      while (all.size() < count) {
        all.add(Conversation.next(events, "event"));
      }
      return all;
    }
  }

  private Heard watch(String key, WatchOption options) {
    Heard heard = new Heard();
    Watch.Listener listener = Watch.listener(
        response -> {
          if (response.isProgressNotify()) {
            heard.progress.add(response.getHeader().getRevision());
          }
          response.getEvents().forEach(event -> heard.events.add(shown(event)));
        },
        heard.errors::add);
    client.getWatchClient().watch(bytes(key), options, listener);
    return heard;
  }

  private static String shown(WatchEvent event) {
    return event.getEventType() + " " + Conversation.shown(event.getKeyValue())
        + "<-" + Conversation.shown(event.getPrevKV());
  }

  void watches() throws Exception {
    long begin = result(kv.get(bytes("watch/a"))).getHeader().getRevision();
    WatchOption.Builder all = WatchOption.builder().isPrefix(true).withPrevKV(true);
    Heard heard = watch("watch/", all.withRevision(begin + 1).build());
    put("watch/a", "1");
    put("watch/a", "2");
    DeleteOption prefix = DeleteOption.builder().isPrefix(true).build();
    result(kv.delete(bytes("watch/"), prefix));
    say("watch.events", heard.next(3));
    Heard deletes = watch("watch/", all.withNoPut(true).build());
    say("watch.history", deletes.next(1));
    WatchOption.Builder leader = WatchOption.builder().withProgressNotify(true);
    Heard idle = watch("watch/idle", leader.withRequireLeader(true).build());
    long revision = put("watch/elsewhere", "1");
    long progress = 0;
    while (progress < revision) {
      client.getWatchClient().requestProgress();
      Long heardOf = idle.progress.poll(100, MILLISECONDS);
      progress = heardOf == null ? 0 : heardOf;
    }
    say("watch.progress", progress == revision);
    result(kv.compact(begin + 3));
    Heard gone = watch("watch/a", WatchOption.builder().withRevision(begin + 1).build());
    say("watch.compacted", described(next(gone.errors, "error")));
  }

  private long put(String key, String value) throws Exception {
    return result(kv.put(bytes(key), bytes(value)))
        .getHeader().getRevision();
  }

  private void put(String key, long lease) throws Exception {
    PutOption leased = PutOption.builder().withLeaseId(lease).build();
    result(kv.put(bytes(key), bytes("1"), leased));
  }

  private long count(String key) throws Exception {
    return result(kv.get(bytes(key))).getCount();
  }

  void leases() throws Exception {
    long lease = result(leases.grant(600)).getID();
    put("lease/a", lease);
    LeaseOption withKeys = LeaseOption.builder().withAttachedKeys().build();
    LeaseTimeToLiveResponse left = result(leases.timeToLive(lease, withKeys));
    say("lease.left", left.getGrantedTTL(), left.getTTL() > 500, left.getKeys());
    say("lease.keep alive", result(leases.keepAliveOnce(lease)).getTTL());
    result(leases.revoke(lease));
    say("lease.revoked", count("lease/a"));
    say("lease.revoke again", failure(leases.revoke(lease)));
    say("lease.too long", failure(leases.grant(9_000_000_001L)));
    expiry();
  }

  /** One lease ends by itself while another is kept alive for longer than its time. */
  private void expiry() throws Exception {
    long ends = result(leases.grant(2)).getID();
    long stays = result(leases.grant(3)).getID();
    Heard heard = watch("expiry/ends", WatchOption.builder().withNoPut(true).build());
    put("expiry/ends", ends);
    put("expiry/stays", stays);
    BlockingQueue<LeaseKeepAliveResponse> kept = new LinkedBlockingQueue<>();
    CloseableClient keeper = leases.keepAlive(stays, Observers.observer(kept::add));
    say("lease.expired", heard.next(1).get(0).startsWith("DELETE"));
    for (int i = 0; i < 4; i++) { // one a second
      next(kept, "keep-alive");
    }
    say("lease.still there", count("expiry/stays"), count("expiry/ends"));
    keeper.close();
    result(leases.revoke(stays));
  }

  void reconnection() throws Exception {
    long begin = put("reconnect/a", "before");
    Heard heard = watch("reconnect/", WatchOption.builder().isPrefix(true).withRevision(begin).build());
    long lease = result(leases.grant(30)).getID();
    put("reconnect/leased", lease);
    CloseableClient keeper = leases.keepAlive(lease, Observers.observer(each -> {}));
    say("reconnect.before", heard.next(2));
    ask("restart");
    for (String value : new String[] {"1", "2", "3"}) {
      ask("etcdctl put reconnect/a " + value);
    }
    say("reconnect.missed nothing", heard.next(3));
    say("reconnect.writes", put("reconnect/b", "after"), heard.next(1));
    say("reconnect.lease", count("reconnect/leased"));
    keeper.close();
    result(leases.revoke(lease));
  }
}
