package clients;

import io.etcd.jetcd.Client;

/**
 * The program that a Java application of etcd could be: every part of jetcd, one printed line a
 * step. tests/clients runs it against etcd and against Tianlu and compares the lines.
 *
 * <p>Usage: Main ENDPOINT TLS_ENDPOINT CERTIFICATES
 */
final class Main {
  private Main() {}

  public static void main(String[] arguments) throws Exception {
    String endpoint = "http://" + arguments[0];
    try (Client client = Client.builder().endpoints(endpoint).build()) {
      Keys keys = new Keys(client);
      keys.keys();
      keys.transactions();
      Streams streams = new Streams(client);
      streams.watches();
      streams.leases();
      Recipes recipes = new Recipes(client);
      recipes.locks();
      recipes.elections();
      keys.limits();
      streams.reconnection();
    }
    Security security = new Security(endpoint, arguments[1], arguments[2]);
    security.authentication();
    security.tls();
    System.out.println("end");
    System.exit(0); // jetcd's threads would keep the process
  }
}
