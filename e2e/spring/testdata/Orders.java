import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.kafka.annotation.DltHandler;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.annotation.RetryableTopic;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.config.TopicBuilder;
import org.springframework.kafka.core.ConsumerFactory;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.DefaultErrorHandler;
import org.springframework.retry.annotation.Backoff;
import org.springframework.util.backoff.FixedBackOff;

/**
 * A Spring Boot application with the two ways in which Spring for Apache Kafka deals with a record that cannot be
 * handled: "orders" goes through retry topics to a dead-letter topic, without holding up what comes after it;
 * "payments" is tried again in place, and then published to a dead-letter topic. Each attempt is a line of output.
 */
@SpringBootApplication(scanBasePackages = "none")
public class Orders {
    public static void main(String[] args) {
        SpringApplication.run(Orders.class, args);
        System.out.println("ready");
    }

    @Bean
    NewTopic ordersTopic() {
        return TopicBuilder.name("orders").partitions(3).replicas(1).build();
    }

    @Bean
    NewTopic paymentsTopic() {
        return TopicBuilder.name("payments").partitions(3).replicas(1).build();
    }

    @Bean
    NewTopic deadPaymentsTopic() {
        return TopicBuilder.name("payments-dlt").partitions(3).replicas(1).build();
    }

    @Bean
    Listeners listeners() {
        return new Listeners();
    }

    @Bean
    ConcurrentKafkaListenerContainerFactory<String, String> inPlace(ConsumerFactory<String, String> consumers, KafkaTemplate<String, String> template) {
        ConcurrentKafkaListenerContainerFactory<String, String> factory = new ConcurrentKafkaListenerContainerFactory<>();
        factory.setConsumerFactory(consumers);
        factory.setConcurrency(2);
        factory.setCommonErrorHandler(new DefaultErrorHandler(new DeadLetterPublishingRecoverer(template), new FixedBackOff(50, 2)));
        return factory;
    }

    static class Listeners {
        @RetryableTopic(attempts = "4", backoff = @Backoff(delay = 100, multiplier = 2), numPartitions = "2", replicationFactor = "1", concurrency = "1")
        @KafkaListener(id = "orders", topics = "orders", concurrency = "2")
        void order(ConsumerRecord<String, String> record) {
            handle(record);
        }

        @DltHandler
        void dead(ConsumerRecord<String, String> record) {
            System.out.println("dead " + record.topic() + " " + record.value());
        }

        @KafkaListener(id = "payments", topics = "payments", containerFactory = "inPlace")
        void payment(ConsumerRecord<String, String> record) {
            handle(record);
        }

        private static void handle(ConsumerRecord<String, String> record) {
            if (record.value().startsWith("poison")) {
                System.out.println("refused " + record.topic() + " " + record.value());
                throw new IllegalArgumentException("cannot handle " + record.value());
            }
            System.out.println("handled " + record.topic() + " " + record.value());
        }
    }
}
