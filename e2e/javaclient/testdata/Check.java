import java.util.concurrent.ExecutionException;

/** Prints one line for each check, "ok name" or "FAILED name: why", which the test reads. */
final class Check {
    interface Body {
        void run() throws Throwable;
    }

    private Check() {
    }

    static void check(String name, Body body) {
        try {
            body.run();
            System.out.println("ok " + name);
        } catch (Throwable e) {
            System.out.println("FAILED " + name + ": " + String.valueOf(e).replace('\n', ' ') + " at " + (e.getStackTrace().length > 0 ? where(e) : "?"));
        }
    }

    private static String where(Throwable e) {
        for (StackTraceElement s : e.getStackTrace()) {
            if (s.getClassName().matches("(Admins|Members)(\\$.*)?")) {
                return s.toString();
            }
        }
        return e.getStackTrace()[0].toString();
    }

    static void equal(Object want, Object got) {
        if (!String.valueOf(want).equals(String.valueOf(got))) {
            throw new AssertionError("want " + want + ", got " + got);
        }
    }

    static void that(boolean holds, Object about) {
        if (!holds) {
            throw new AssertionError(String.valueOf(about));
        }
    }

    /** Demands that the call fails with the exception, in whatever it is wrapped, and returns its message. */
    static String fails(Class<? extends Throwable> want, Body body) {
        try {
            body.run();
        } catch (Throwable e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            if (want.isInstance(cause)) {
                return String.valueOf(cause.getMessage());
            }
            throw new AssertionError("want " + want.getSimpleName() + ", got " + cause);
        }
        throw new AssertionError("want " + want.getSimpleName() + ", but the call succeeded");
    }
}
