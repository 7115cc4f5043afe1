package dataco.connect;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A task that stops at a step. The file that {@code test.step.file} names holds the step's name and how to stop; the task
 * that deletes it there is the one that stops, whichever others are at the step, too. {@code halt} ends the worker's process as if it had been killed, {@code suspend} stops it until somebody
 * sends it SIGCONT, {@code fail} ends the task, and {@code wait} waits for a file of the same name with {@code .go} behind it.
 */
public final class HaltingSinkTask extends ClickSinkTask {
    private static final Logger LOG = LoggerFactory.getLogger(HaltingSinkTask.class);
    private static final int KILLED = 137;
    private static final long PAUSE_MS = 20;

    private Path file;

    @Override
    public void start(Map<String, String> properties) {
        file = Path.of(properties.get("test.step.file"));
        super.start(properties);
    }

    @Override
    void onStep(Step step) {
        try {
            String[] asked = Files.readString(file).split(" ");
            if (asked[0].equals(step.name()) && Files.deleteIfExists(file)) {
                stop(asked[1], step);
            }
        } catch (NoSuchFileException nothing) {
            LOG.trace("No task is to stop, or another one has", nothing);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static void suspend() throws IOException, InterruptedException {
        String self = Long.toString(ProcessHandle.current().pid());
        new ProcessBuilder("kill", "-STOP", self).start().waitFor();
    }

    private void stop(String how, Step step) throws IOException, InterruptedException {
        switch (how) {
            case "halt" -> Runtime.getRuntime().halt(KILLED);
            case "suspend" -> suspend();
            case "fail" -> throw new IllegalStateException("ended at " + step);
            default -> {
                Path go = file.resolveSibling(file.getFileName() + ".go");
                while (!Files.deleteIfExists(go)) {
                    Thread.sleep(PAUSE_MS);
                }
            }
        }
    }
}
