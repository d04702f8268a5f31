// coracle-cni is the CNI plugin that the container runtime starts. It hands the
// call to the node agent and hands back the answer, and knows nothing of
// networks itself.
//
// It sends to the unix socket that the configuration's "socket" key names: the
// lines CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME and CNI_ARGS, then the
// configuration as it came. The first byte of the answer is the exit code as a
// digit, the rest is what goes to standard output.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	// Error codes of the CNI specification.
	ENVIRONMENT = 4,
	IO_FAILURE = 5,
	DECODING = 6,
	TRY_AGAIN = 11,
	// The runtime caps a call at some seconds; beyond this the agent hangs.
	TIMEOUT_SECONDS = 60,
};

static char config[1 << 20];

static int fail(int code, const char *doing, const char *what) {
	// Neither the fixed texts nor strerror hold what JSON would need escaped,
	// and a socket's path with such a byte is refused before it gets here.
	printf("{\"cniVersion\":\"1.0.0\",\"code\":%d,\"msg\":\"%s %s: %s\"}\n", code, doing, what, strerror(errno));
	return 1;
}

static const char *skip_space(const char *at) {
	while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')
		at++;
	return at;
}

// skip_string returns what follows the string that starts at a quote, or 0.
static const char *skip_string(const char *at) {
	for (at++; *at; at++) {
		if (*at == '"')
			return at + 1;
		if (*at == '\\' && !*++at)
			return 0;
	}
	return 0;
}

// find_socket copies the value of the outermost object's "socket" key.
static int find_socket(char *into, size_t size) {
	int depth = 0;
	const char *at = config;
	while (*at) {
		if (*at == '{' || *at == '[')
			depth++;
		if (*at == '}' || *at == ']')
			depth--;
		if (*at != '"') {
			at++;
			continue;
		}
		const char *end = skip_string(at);
		if (!end)
			return -1;
		const char *value = skip_space(end);
		if (depth != 1 || *value != ':' || end - at != 8 || memcmp(at, "\"socket\"", 8)) {
			at = end;
			continue;
		}
		value = skip_space(value + 1);
		end = *value == '"' ? skip_string(value) : 0;
		if (!end)
			return -1;
		size_t length = (size_t)(end - value) - 2;
		if (length == 0 || length >= size)
			return -1;
		for (size_t i = 0; i < length; i++)
			if ((unsigned char)value[1 + i] < ' ' || value[1 + i] == '\\')
				return -1;
		memcpy(into, value + 1, length);
		into[length] = 0;
		return 0;
	}
	return -1;
}

static int write_all(int file, const char *bytes, size_t length) {
	while (length > 0) {
		ssize_t n = write(file, bytes, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes += n;
		length -= (size_t)n;
	}
	return 0;
}

static ssize_t read_all(int file, char *into, size_t size) {
	size_t length = 0;
	while (length < size) {
		ssize_t n = read(file, into + length, size - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			return (ssize_t)length;
		length += (size_t)n;
	}
	errno = EMSGSIZE;
	return -1;
}

static int send_call(int socket_file, size_t config_length) {
	static const char *const names[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *value = getenv(names[i]);
		if (!value)
			value = "";
		if (strchr(value, '\n')) {
			errno = EINVAL;
			return fail(ENVIRONMENT, "reading", names[i]);
		}
		if (write_all(socket_file, value, strlen(value)) || write_all(socket_file, "\n", 1))
			return fail(TRY_AGAIN, "sending to", "the node agent");
	}
	if (write_all(socket_file, config, config_length) || shutdown(socket_file, SHUT_WR))
		return fail(TRY_AGAIN, "sending to", "the node agent");
	return 0;
}

static int receive_answer(int socket_file) {
	// The configuration has been sent, so its memory is free.
	ssize_t length = read_all(socket_file, config, sizeof config);
	if (length < 0)
		return fail(TRY_AGAIN, "receiving from", "the node agent");
	if (length == 0 || config[0] < '0' || config[0] > '9') {
		errno = EPROTO;
		return fail(TRY_AGAIN, "receiving from", "the node agent");
	}
	if (write_all(STDOUT_FILENO, config + 1, (size_t)length - 1))
		return 1;
	return config[0] - '0';
}

int main(void) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
	ssize_t length = read_all(STDIN_FILENO, config, sizeof config - 1);
	if (length < 0)
		return fail(IO_FAILURE, "reading", "the configuration");
	config[length] = 0;
	if (find_socket(address.sun_path, sizeof address.sun_path)) {
		errno = EINVAL;
		return fail(DECODING, "finding the socket in", "the configuration");
	}
	int socket_file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (socket_file < 0)
		return fail(IO_FAILURE, "making", "a socket");
	setsockopt(socket_file, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(socket_file, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (connect(socket_file, (struct sockaddr *)&address, sizeof address))
		return fail(TRY_AGAIN, "connecting to the node agent at", address.sun_path);
	int failed = send_call(socket_file, (size_t)length);
	return failed ? failed : receive_answer(socket_file);
}
