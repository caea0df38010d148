package clients;

import static clients.Conversation.ask;
import static clients.Conversation.bytes;
import static clients.Conversation.failure;
import static clients.Conversation.next;
import static clients.Conversation.result;
import static clients.Conversation.say;
import static clients.Conversation.shown;
import static io.etcd.jetcd.auth.Permission.Type.READ;
import static io.etcd.jetcd.auth.Permission.Type.READWRITE;
import static java.util.concurrent.TimeUnit.SECONDS;

import io.etcd.jetcd.Auth;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.ClientBuilder;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.auth.Permission;
import io.etcd.jetcd.options.GetOption;
import java.io.File;
import java.nio.file.Path;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeoutException;

/** Users, roles and permissions; certificates. */
final class Security {
  private static final ByteSequence ALL_OF_A = bytes("auth/a/");
  private static final ByteSequence END_OF_A = bytes("auth/a0");

  private final String endpoint;
  private final String secureEndpoint;
  private final Path certificates;

  Security(String endpoint, String secureEndpoint, String certificates) {
    this.endpoint = endpoint;
    this.secureEndpoint = secureEndpoint;
    this.certificates = Path.of(certificates);
  }

  private Client connected(String user, String password) {
    return Client.builder().endpoints(endpoint).user(bytes(user)).password(bytes(password)).build();
  }

  void authentication() throws Exception {
    try (Client anybody = Client.builder().endpoints(endpoint).build()) {
      prepare(anybody.getAuthClient());
      say("auth.nobody", failure(anybody.getKVClient().get(bytes("auth/a/1"))));
    }
    try (Client stranger = connected("ann", "wrong")) {
      say("auth.wrong password", failure(stranger.getKVClient().get(bytes("auth/a/1"))));
    }
    try (Client ann = connected("ann", "annpw"); Client root = connected("root", "rootpw")) {
      permitted(ann, root.getAuthClient());
      Auth auth = root.getAuthClient();
      result(auth.roleRevokePermission(bytes("reader"), bytes("auth/r"), ByteSequence.EMPTY));
      result(auth.userRevokeRole(bytes("ann"), bytes("reader")));
      say("auth.role taken", failure(ann.getKVClient().get(bytes("auth/a/1"))));
      result(auth.userChangePassword(bytes("ann"), bytes("new")));
      say("auth.old password", failure(ann.getKVClient().get(bytes("auth/a/1"))));
      result(auth.roleDelete(bytes("reader")));
      result(auth.userDelete(bytes("ann")));
      result(auth.authDisable());
    }
  }

  private void prepare(Auth auth) throws Exception {
    result(auth.userAdd(bytes("root"), bytes("rootpw")));
    say("auth.enable too early", failure(auth.authEnable()));
    result(auth.roleAdd(bytes("root")));
    result(auth.userGrantRole(bytes("root"), bytes("root")));
    result(auth.userAdd(bytes("ann"), bytes("annpw")));
    say("auth.user twice", failure(auth.userAdd(bytes("ann"), bytes("x"))));
    result(auth.roleAdd(bytes("reader")));
    result(auth.roleGrantPermission(bytes("reader"), ALL_OF_A, END_OF_A, READWRITE));
    result(auth.roleGrantPermission(bytes("reader"), bytes("auth/r"), ByteSequence.EMPTY, READ));
    result(auth.userGrantRole(bytes("ann"), bytes("reader")));
    for (Permission each : result(auth.roleGet(bytes("reader"))).getPermissions()) {
      say("auth.permission", each.getPermType(), each.getKey(), each.getRangeEnd());
    }
    say("auth.users", result(auth.userList()).getUsers(), result(auth.userGet(bytes("ann"))).getRoles());
    say("auth.unknown role", failure(auth.userGrantRole(bytes("ann"), bytes("nothing"))));
    result(auth.authEnable());
  }

  /** What ann may and may not, also after the server has forgotten its tokens. */
  private void permitted(Client ann, Auth auth) throws Exception {
    KV kv = ann.getKVClient();
    result(kv.put(bytes("auth/a/1"), bytes("1")));
    GetOption prefix = GetOption.builder().isPrefix(true).build();
    say("auth.read", shown(result(kv.get(ALL_OF_A, prefix)).getKvs()));
    say("auth.write of read-only", failure(kv.put(bytes("auth/r"), bytes("1"))));
    say("auth.read of others", failure(kv.get(bytes("auth/b"))));
    say("auth.administer", failure(ann.getAuthClient().userAdd(bytes("eve"), bytes("x"))));
    ask("restart");
    say("auth.token refreshed", shown(result(kv.get(bytes("auth/a/1"))).getKvs()));
  }

  private File file(String name) {
    return certificates.resolve(name).toFile();
  }

  private ClientBuilder secured(boolean withCertificate) throws Exception {
    return Client.builder()
        .endpoints("https://" + secureEndpoint)
        .sslContext(tls -> {
          tls.trustManager(file("ca.crt"));
          if (withCertificate) {
            tls.keyManager(file("ann.crt"), file("ann.key"));
          }
        });
  }

  void tls() throws Exception {
    try (Client ann = secured(true).build()) {
      KV kv = ann.getKVClient();
      result(kv.put(bytes("shop/a"), bytes("1")));
      say("tls.by common name", result(kv.get(bytes("shop/a"))).getCount());
      say("tls.denied", failure(kv.put(bytes("other"), bytes("1"))));
      BlockingQueue<Integer> heard = new LinkedBlockingQueue<>();
      ann.getWatchClient().watch(bytes("shop/b"), response -> heard.add(response.getEvents().size()));
      while (heard.isEmpty()) { // until the watch has begun
        result(kv.put(bytes("shop/b"), bytes("2")));
      }
      say("tls.watch", next(heard, "event") > 0);
    }
    try (Client bob = secured(true).user(bytes("bob")).password(bytes("bobpw")).build()) {
      say("tls.by password", failure(bob.getKVClient().put(bytes("shop/a"), bytes("1"))));
    }
    try (Client stranger = secured(false).build()) {
      say("tls.no certificate", refused(stranger));
    }
  }

  /** Tells whether a read comes to nothing; jetcd goes on trying as long as it is let. */
  private static boolean refused(Client client) throws InterruptedException {
    try {
      client.getKVClient().get(bytes("shop/a")).get(1, SECONDS);
      return false;
    } catch (ExecutionException | TimeoutException error) {
      return true;
    }
  }
}
