package clients;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.KeyValue;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

/** How a program of tests/clients speaks with the test: a line a step, and requests to the test. */
final class Conversation {
  private static final long PATIENCE_SECONDS = 30;
  private static final BufferedReader ANSWERS = new BufferedReader(new InputStreamReader(System.in));

  private Conversation() {}

  /** Prints one step's outcome. */
  static void say(String step, Object... outcome) {
    StringBuilder line = new StringBuilder(step).append(":");
    for (Object each : outcome) {
      line.append(" ").append(each);
    }
    System.out.println(line);
  }

  /** Has the test do something to the server: "restart", or "etcdctl ARGUMENTS". */
  static void ask(String request) throws IOException {
    System.out.println("?" + request);
    if (ANSWERS.readLine() == null) {
      throw new IOException("the test is gone");
    }
  }

  /** Returns what a step that has to succeed returns, in time. */
  static <T> T result(CompletableFuture<T> step) throws Exception {
    return step.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
  }

  /** Returns what a step that has to fail said. */
  static String failure(CompletableFuture<?> step) throws InterruptedException, TimeoutException {
    try {
      step.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
      return "no error";
    } catch (ExecutionException error) {
      return described(error.getCause());
    }
  }

  static String described(Throwable error) {
    return "error<" + error.getClass().getSimpleName() + " " + error.getMessage() + ">";
  }

  /** Returns what comes next in a queue. */
  static <T> T next(BlockingQueue<T> queue, String what) throws Exception {
    T value = queue.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
    if (value == null) {
      throw new TimeoutException("nothing came in time: " + what);
    }
    return value;
  }

  static ByteSequence bytes(String text) {
    return ByteSequence.from(text, StandardCharsets.UTF_8);
  }

  /** Key-value pairs with every field that a client can see but the lease. */
  static String shown(List<KeyValue> kvs) {
    return kvs.stream().map(Conversation::shown).collect(Collectors.joining(" ", "[", "]"));
  }

  static String shown(KeyValue kv) {
    return String.format(
        "%s=%s(%d,%d,%d)",
        kv.getKey(), kv.getValue(), kv.getCreateRevision(), kv.getModRevision(), kv.getVersion());
  }
}
