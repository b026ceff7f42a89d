import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;

/** Spring Authorization Server as Spring Boot sets it up; all else stands in the configuration file. */
@EnableAutoConfiguration
public class Server {
  public static void main(String[] args) {
    SpringApplication.run(Server.class, args);
  }
}
