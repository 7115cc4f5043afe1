import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;

/**
 * An Iceberg REST catalog for one user: Iceberg's own protocol adapter over its JDBC catalog, on the loopback interface.
 *
 * <p>Arguments: port, JDBC address of the catalog, warehouse, client id. The adapter answers every request for a token
 * with one that contains the client's id, whatever the secret is; a request without the right token is refused here.
 */
final class RestCatalog {
  public static void main(String[] arguments) throws Exception {
    Map<String, String> properties =
        Map.of(
            "catalog-impl", "org.apache.iceberg.jdbc.JdbcCatalog",
            "uri", arguments[1],
            "warehouse", arguments[2],
            "jdbc.schema-version", "V1");
    RESTCatalogAdapter adapter =
        new RESTCatalogAdapter(CatalogUtil.buildIcebergCatalog("rest", properties, new Configuration()));
    ServletContextHandler handler = new ServletContextHandler();
    handler.addServlet(new ServletHolder(new ForOneUser(adapter, arguments[3])), "/*");
    Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
    server.setHandler(handler);
    server.start();
    server.join();
  }

  private static final class ForOneUser extends RESTCatalogServlet {
    private final String user;

    ForOneUser(RESTCatalogAdapter adapter, String user) {
      super(adapter);
      this.user = user;
    }

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
      String token = String.valueOf(request.getHeader("Authorization"));
      boolean asksForToken = request.getRequestURI().endsWith("/oauth/tokens");
      if (!asksForToken && !token.contains("sub=" + user)) {
        response.setStatus(401);
        response.setContentType("application/json");
        response
            .getWriter()
            .write("{\"error\": {\"message\": \"not your catalog\", \"type\": \"NotAuthorizedException\", \"code\": 401}}");
        return;
      }
      try {
        super.service(request, response);
      } catch (jakarta.servlet.ServletException error) {
        throw new IOException(error);
      }
    }
  }
}
