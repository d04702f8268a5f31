// coracle-hold keeps a pod's namespaces alive: it is the process that the pod's
// containers join, and does nothing else. It stands where other runtimes run a
// pause container.
//
//	coracle-hold ID HOSTNAME [PATH=VALUE...]
//
// is how the sandbox controller starts it, inside new IPC and UTS namespaces.
// ID only makes the process recognisable. An empty HOSTNAME leaves the host's.
// Each PATH=VALUE is written to /proc/sys/PATH.
//
// File 3 is the report: the byte 'k' when all is set up, else 'e' and a message.
// File 4 is the permission to stay: one byte once the controller has written
// down who we are. If it ends without one, the controller is gone and nobody
// knows of us, so we leave. File 5 is the network namespace to enter, if open.
//
// Without arguments it is the init process of a stock pause container.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPORT = 3, PERMISSION = 4, NETNS = 5 };

static void leave(int signal) {
	(void)signal;
	_exit(0);
}

static void reap(int signal) {
	(void)signal;
	int saved = errno;
	while (waitpid(-1, 0, WNOHANG) > 0) {
	}
	errno = saved;
}

static void on(int number, void (*handler)(int)) {
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(number, &action, 0);
}

static void fail(const char *doing, const char *what) {
	char message[512];
	int n = snprintf(message, sizeof message, "e%s %s: %s", doing, what, strerror(errno));
	if (n > (int)sizeof message - 1)
		n = sizeof message - 1;
	if (n > 0 && write(REPORT, message, (size_t)n) < 0)
		_exit(2);
	_exit(1);
}

static void set_sysctl(const char *setting) {
	const char *equals = strchr(setting, '=');
	char path[256];
	if (!equals || strstr(setting, "..")) {
		errno = EINVAL;
		fail("setting sysctl", setting);
	}
	int n = snprintf(path, sizeof path, "/proc/sys/%.*s", (int)(equals - setting), setting);
	if (n < 0 || n >= (int)sizeof path) {
		errno = ENAMETOOLONG;
		fail("setting sysctl", setting);
	}
	int file = open(path, O_WRONLY | O_CLOEXEC);
	if (file < 0)
		fail("opening sysctl", path);
	size_t length = strlen(equals + 1);
	if (write(file, equals + 1, length) != (ssize_t)length)
		fail("setting sysctl", setting);
	close(file);
}

static void set_up(int count, char **arguments) {
	char byte;
	ssize_t n;
	if (fcntl(NETNS, F_GETFD) >= 0) {
		if (setns(NETNS, CLONE_NEWNET))
			fail("entering", "the network namespace");
		close(NETNS);
	}
	if (*arguments[2] && sethostname(arguments[2], strlen(arguments[2])))
		fail("setting the host name", arguments[2]);
	for (int i = 3; i < count; i++)
		set_sysctl(arguments[i]);
	if (chdir("/"))
		fail("changing to", "/");
	if (write(REPORT, "k", 1) != 1)
		_exit(2);
	close(REPORT);
	do {
		n = read(PERMISSION, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(0);
	close(PERMISSION);
}

int main(int count, char **arguments) {
	on(SIGINT, leave);
	on(SIGTERM, leave);
	on(SIGCHLD, reap);
	if (count > 2)
		set_up(count, arguments);
	for (;;)
		pause();
}
