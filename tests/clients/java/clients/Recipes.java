package clients;

import static clients.Conversation.bytes;
import static clients.Conversation.described;
import static clients.Conversation.failure;
import static clients.Conversation.next;
import static clients.Conversation.result;
import static clients.Conversation.say;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.Lock;
import io.etcd.jetcd.election.CampaignResponse;
import io.etcd.jetcd.election.LeaderKey;
import io.etcd.jetcd.election.LeaderResponse;
import io.etcd.jetcd.lock.LockResponse;
import io.etcd.jetcd.options.GetOption;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;

/** Locks and elections, by etcd's own services. */
final class Recipes {
  private final Client client;
  private final Lease leases;

  Recipes(Client client) {
    this.client = client;
    leases = client.getLeaseClient();
  }

  private long lease() throws Exception {
    return result(leases.grant(30)).getID();
  }

  /** Tells whether a second place stands under a prefix, and is not served. */
  private boolean waits(String prefix, CompletableFuture<?> second) throws Exception {
    GetOption places = GetOption.builder().isPrefix(true).withCountOnly(true).build();
    while (result(client.getKVClient().get(bytes(prefix), places)).getCount() < 2) {
      Thread.sleep(10);
    }
    return !second.isDone();
  }

  void locks() throws Exception {
    Lock lock = client.getLockClient();
    long first = lease();
    long second = lease();
    ByteSequence held = result(lock.lock(bytes("lock"), first)).getKey();
    say("lock.held", held.startsWith(bytes("lock/")));
    CompletableFuture<LockResponse> waiting = lock.lock(bytes("lock"), second);
    say("lock.waits", waits("lock/", waiting));
    result(lock.unlock(held));
    result(waiting);
    CompletableFuture<LockResponse> again = lock.lock(bytes("lock"), first);
    result(leases.revoke(second)); // gives the lock away
    say("lock.handed over", result(again).getKey().equals(held));
    result(leases.revoke(first));
    say("lock.unknown lease", failure(lock.lock(bytes("lock"), 12345)));
  }

  /** Keeps what an observer of an election hears. */
  private static final class Observer implements Election.Listener {
    final BlockingQueue<String> leaders = new LinkedBlockingQueue<>();

    @Override
    public void onNext(LeaderResponse response) {
      leaders.add(response.getKv().getValue().toString());
    }

    @Override
    public void onError(Throwable error) {
      leaders.add(described(error));
    }

    @Override
    public void onCompleted() {
      leaders.add("completed");
    }

    String next() throws Exception {
      return Conversation.next(leaders, "leader");
    }
  }

  void elections() throws Exception {
    Election election = client.getElectionClient();
    ByteSequence office = bytes("election");
    say("election.nobody", failure(election.leader(office)));
    LeaderKey first = result(election.campaign(office, lease(), bytes("first"))).getLeader();
    say("election.leader", result(election.leader(office)).getKv().getValue());
    Observer observer = new Observer();
    election.observe(office, observer);
    say("election.observed", observer.next());
    result(election.proclaim(first, bytes("erste")));
    say("election.proclaimed", observer.next());
    CompletableFuture<CampaignResponse> second = election.campaign(office, lease(), bytes("second"));
    say("election.waits", waits("election/", second));
    result(election.resign(first));
    LeaderKey successor = result(second).getLeader();
    say("election.successor", observer.next());
    say("election.not the leader", failure(election.proclaim(first, bytes("x"))));
    result(election.resign(successor));
    say("election.resigned", failure(election.leader(office)));
    for (LeaderKey each : new LeaderKey[] {first, successor}) {
      result(leases.revoke(each.getLease()));
    }
  }
}
