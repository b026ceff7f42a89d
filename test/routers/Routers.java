import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Map;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.http.UriCompliance;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.springframework.context.annotation.Bean;
import org.springframework.util.AntPathMatcher;
import org.springframework.web.HttpRequestHandler;
import org.springframework.web.context.support.AnnotationConfigWebApplicationContext;
import org.springframework.web.servlet.DispatcherServlet;
import org.springframework.web.servlet.handler.SimpleUrlHandlerMapping;
import org.springframework.web.servlet.mvc.HttpRequestHandlerAdapter;
import org.springframework.web.util.UrlPathHelper;
import org.springframework.web.util.pattern.PathPatternParser;

/**
 * Spring on Tomcat, with its path patterns and with the Ant patterns that it had before, and Jetty. Each answers which of
 * its handlers was asked. Where they may be strict or lenient they are lenient, as older applications have them.
 */
public final class Routers {
    public static void main(String[] ports) throws Exception {
        startSpring(Integer.parseInt(ports[0]), PathPatterns.class);
        startSpring(Integer.parseInt(ports[1]), AntPatterns.class);
        startJetty(Integer.parseInt(ports[2]));
        System.out.println("ready");
    }

    static void answer(String handler, HttpServletRequest request, HttpServletResponse response) throws IOException {
        response.setHeader("X-Handler", handler);
        response.getWriter().print(handler + " " + request.getMethod());
    }

    static SimpleUrlHandlerMapping mapping() {
        HttpRequestHandler admin = (request, response) -> answer("admin", request, response);
        HttpRequestHandler other = (request, response) -> answer("other", request, response);
        SimpleUrlHandlerMapping mapping = new SimpleUrlHandlerMapping();
        mapping.setUrlMap(Map.of("/admin", admin, "/admin/**", admin, "/**", other));
        return mapping;
    }

    public static class PathPatterns {
        @Bean
        public SimpleUrlHandlerMapping handlers() {
            PathPatternParser parser = new PathPatternParser();
            parser.setCaseSensitive(false);
            SimpleUrlHandlerMapping mapping = mapping();
            mapping.setPatternParser(parser);
            return mapping;
        }

        @Bean
        public HttpRequestHandlerAdapter adapter() {
            return new HttpRequestHandlerAdapter();
        }
    }

    public static class AntPatterns {
        @Bean
        public SimpleUrlHandlerMapping handlers() {
            AntPathMatcher matcher = new AntPathMatcher();
            matcher.setCaseSensitive(false);
            matcher.setTrimTokens(true);
            SimpleUrlHandlerMapping mapping = mapping();
            mapping.setPatternParser(null);
            mapping.setPathMatcher(matcher);
            mapping.setUrlPathHelper(new UrlPathHelper());
            return mapping;
        }

        @Bean
        public HttpRequestHandlerAdapter adapter() {
            return new HttpRequestHandlerAdapter();
        }
    }

    private static void startSpring(int port, Class<?> configuration) throws Exception {
        AnnotationConfigWebApplicationContext beans = new AnnotationConfigWebApplicationContext();
        beans.register(configuration);
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("routers-tomcat").toString());
        tomcat.setHostname("127.0.0.1");
        tomcat.setPort(port);
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        tomcat.getConnector().setEncodedSolidusHandling("decode");
        tomcat.getConnector().setAllowBackslash(true);
        Context context = tomcat.addContext("", null);
        context.setAllowCasualMultipartParsing(true);
        DispatcherServlet servlet = new DispatcherServlet(beans);
        Tomcat.addServlet(context, "dispatcher", servlet).setLoadOnStartup(1);
        context.addServletMappingDecoded("/", "dispatcher");
        tomcat.start();
    }

    private static final class Handler extends HttpServlet {
        private final String name;

        Handler(String name) {
            this.name = name;
        }

        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
            answer(name, request, response);
        }
    }

    private static void startJetty(int port) throws Exception {
        HttpConfiguration http = new HttpConfiguration();
        http.setUriCompliance(UriCompliance.UNSAFE);
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server, new HttpConnectionFactory(http));
        connector.setHost("127.0.0.1");
        connector.setPort(port);
        server.addConnector(connector);
        ServletContextHandler context = new ServletContextHandler("/");
        context.getServletHandler().setDecodeAmbiguousURIs(true);
        context.addServlet(new ServletHolder(new Handler("admin")), "/admin/*");
        context.addServlet(new ServletHolder(new Handler("other")), "/");
        server.setHandler(context);
        server.start();
    }
}
