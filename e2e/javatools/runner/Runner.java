import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main methods of Kafka's tools one after the other in one JVM: a line of JSON in, {"class", "args",
 * "stdin"}, and a line out, {"code", "out", "err"}. The tools are not changed: their exits and shutdown hooks go
 * through Kafka's own Exit class, which lets a caller take them over.
 */
public class Runner {
    /** Thrown in place of the end of the process. */
    static final class Ended extends Error {
        Ended() {
            super("exit", null, false, false);
        }
    }

    /** What a tool prints, up to its exit. */
    static final class Capture extends ByteArrayOutputStream {
        private volatile boolean over;

        @Override
        public synchronized void write(int b) {
            if (!over) {
                super.write(b);
            }
        }

        @Override
        public synchronized void write(byte[] b, int off, int len) {
            if (!over) {
                super.write(b, off, len);
            }
        }
    }

    /** Loads the tools' classes anew for each run, because some keep counts in static fields. */
    static final class Fresh extends URLClassLoader {
        Fresh(URL[] jars, ClassLoader parent) {
            super(jars, parent);
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (name.startsWith("org.apache.kafka.tools.")) {
                synchronized (getClassLoadingLock(name)) {
                    Class<?> found = findLoadedClass(name);
                    return found != null ? found : findClass(name);
                }
            }
            return super.loadClass(name, resolve);
        }
    }

    private final Capture out = new Capture();
    private final Capture err = new Capture();
    private final List<Runnable> hooks = Collections.synchronizedList(new ArrayList<>());
    private Integer code;

    public static void main(String[] args) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream answers = System.out;
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<URL> jars = new ArrayList<>();
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (new File(path).getName().startsWith("kafka-tools")) {
                jars.add(new File(path).toURI().toURL());
            }
        }
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            JsonNode command = json.readTree(line);
            List<String> list = new ArrayList<>();
            command.get("args").forEach(a -> list.add(a.asText()));
            Runner run = new Runner();
            try (Fresh loader = new Fresh(jars.toArray(new URL[0]), Runner.class.getClassLoader())) {
                run.run(loader, command.get("class").asText(), list.toArray(new String[0]), command.get("stdin").asText());
            }
            ObjectNode answer = json.createObjectNode();
            answer.put("code", run.code == null ? 0 : run.code);
            answer.put("out", run.out.toString(StandardCharsets.UTF_8));
            answer.put("err", run.err.toString(StandardCharsets.UTF_8));
            answers.println(json.writeValueAsString(answer));
            answers.flush();
        }
    }

    private void run(ClassLoader loader, String name, String[] args, String stdin) {
        System.setIn(new ByteArrayInputStream(stdin.getBytes(StandardCharsets.UTF_8)));
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        Thread.currentThread().setContextClassLoader(loader);
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((hook, runnable) -> hooks.add(runnable));
        try {
            Class.forName(name, true, loader).getMethod("main", String[].class).invoke(null, (Object) args);
            runHooks();
        } catch (InvocationTargetException e) {
            if (code == null) { // as the JVM does with what main throws
                e.getCause().printStackTrace();
                code = 1;
                runHooks();
            }
        } catch (ReflectiveOperationException e) {
            e.printStackTrace();
            code = 1;
        }
        out.over = true;
        err.over = true;
    }

    /** What the first exit does; what the tool does while the error unwinds it no longer counts. */
    private synchronized void end(int status) {
        if (code == null) {
            code = status;
            runHooks();
            System.out.flush();
            System.err.flush();
            out.over = true;
            err.over = true;
        }
        throw new Ended();
    }

    private void runHooks() {
        for (Runnable hook : List.copyOf(hooks)) {
            Thread thread = new Thread(hook);
            thread.start();
            try {
                thread.join(10_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
