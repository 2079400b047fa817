// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A client of the original proposal (RFC v2, May 2025), as one would have written
 * it then: it knows the proposal's structures, from its own copy of them, and
 * nothing of this project or of mainline.
 *
 *	rfc_client 1		registers a memfd, prepares and freezes; the last
 *				line is "token" and the number
 *	rfc_client 2 TOKEN	in the next kernel: restores the memfd, verifies it
 *				and finishes the update
 *
 * Each step that worked is a line "ok STEP". The first that did not is a line
 * "not ok STEP" with the reason, and ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The proposal's interface. */

enum liveupdate_state {
	LIVEUPDATE_STATE_NORMAL = 0,
	LIVEUPDATE_STATE_PREPARED = 1,
	LIVEUPDATE_STATE_FROZEN = 2,
	LIVEUPDATE_STATE_UPDATED = 3,
};

struct liveupdate_fd {
	int fd;
	uint32_t flags;
	uint64_t token;
};

#define LIVEUPDATE_IOCTL_TYPE		0xBA
#define LIVEUPDATE_IOCTL_FD_PRESERVE	_IOWR(LIVEUPDATE_IOCTL_TYPE, 0x00, struct liveupdate_fd)
#define LIVEUPDATE_IOCTL_FD_UNPRESERVE	_IOW(LIVEUPDATE_IOCTL_TYPE, 0x01, uint64_t)
#define LIVEUPDATE_IOCTL_FD_RESTORE	_IOWR(LIVEUPDATE_IOCTL_TYPE, 0x02, struct liveupdate_fd)
#define LIVEUPDATE_IOCTL_GET_STATE	_IOR(LIVEUPDATE_IOCTL_TYPE, 0x03, enum liveupdate_state)
#define LIVEUPDATE_IOCTL_EVENT_PREPARE	_IO(LIVEUPDATE_IOCTL_TYPE, 0x04)
#define LIVEUPDATE_IOCTL_EVENT_FREEZE	_IO(LIVEUPDATE_IOCTL_TYPE, 0x05)
#define LIVEUPDATE_IOCTL_EVENT_CANCEL	_IO(LIVEUPDATE_IOCTL_TYPE, 0x06)
#define LIVEUPDATE_IOCTL_EVENT_FINISH	_IO(LIVEUPDATE_IOCTL_TYPE, 0x07)

/* Bytes of the memfd: some pages, the last one not full. */
#define LENGTH	(5 * 4096 + 123)

static void ok(const char *step)
{
	printf("ok %s\n", step);
}

/* Ends the program: this step did not work. */
static void __attribute__((noreturn, format(printf, 2, 3)))
not_ok(const char *step, const char *format, ...)
{
	va_list args;

	printf("not ok %s: ", step);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

static void must(int result, const char *step)
{
	if (result < 0)
		not_ok(step, "%s", strerror(errno));
	ok(step);
}

/* A call that must be refused with an error. */
static void must_not(int result, int error, const char *step)
{
	if (result >= 0)
		not_ok(step, "it was accepted");
	if (errno != error)
		not_ok(step, "%s instead of %s", strerror(errno), strerror(error));
	ok(step);
}

static void state_is(int device, enum liveupdate_state expected, const char *step)
{
	enum liveupdate_state state = -1;

	if (ioctl(device, LIVEUPDATE_IOCTL_GET_STATE, &state) < 0)
		not_ok(step, "%s", strerror(errno));
	if (state != expected)
		not_ok(step, "the state is %u", state);
	ok(step);
}

static int open_device(void)
{
	int device = open("/dev/liveupdate", O_RDWR | O_CLOEXEC);

	must(device, "open");
	return device;
}

/* Byte number @at of the memfd. */
static unsigned char pattern(size_t at)
{
	return (at * 2654435761u) >> 24;
}

static int filled_memfd(void)
{
	static unsigned char bytes[LENGTH];
	int memfd = memfd_create("rfc_client", MFD_CLOEXEC);

	must(memfd, "memfd");
	for (size_t at = 0; at < LENGTH; at++)
		bytes[at] = pattern(at);
	if (write(memfd, bytes, LENGTH) != LENGTH)
		not_ok("fill", "%s", strerror(errno));
	return memfd;
}

static void verify(int memfd, const char *step)
{
	static unsigned char bytes[LENGTH + 1];
	ssize_t length = pread(memfd, bytes, sizeof(bytes), 0);

	if (length != LENGTH)
		not_ok(step, "%zd bytes", length);
	for (size_t at = 0; at < LENGTH; at++)
		if (bytes[at] != pattern(at))
			not_ok(step, "byte %zu differs", at);
	ok(step);
}

static int before(void)
{
	struct liveupdate_fd kept = { 0 }, other = { 0 };
	int device = open_device();

	state_is(device, LIVEUPDATE_STATE_NORMAL, "state-normal");

	kept.fd = filled_memfd();
	must(ioctl(device, LIVEUPDATE_IOCTL_FD_PRESERVE, &kept), "preserve");
	other.fd = filled_memfd();
	must(ioctl(device, LIVEUPDATE_IOCTL_FD_PRESERVE, &other), "preserve-another");
	if (kept.token == other.token)
		not_ok("tokens", "both are %#llx", (unsigned long long)kept.token);
	must(ioctl(device, LIVEUPDATE_IOCTL_FD_UNPRESERVE, &other.token), "unpreserve-another");

	/* There and back first. */
	must(ioctl(device, LIVEUPDATE_IOCTL_EVENT_PREPARE), "prepare-to-cancel");
	must(ioctl(device, LIVEUPDATE_IOCTL_EVENT_CANCEL), "cancel");
	state_is(device, LIVEUPDATE_STATE_NORMAL, "state-normal-again");
	must_not(ioctl(device, LIVEUPDATE_IOCTL_EVENT_FREEZE), EINVAL, "freeze-is-too-early");

	must(ioctl(device, LIVEUPDATE_IOCTL_EVENT_PREPARE), "prepare");
	state_is(device, LIVEUPDATE_STATE_PREPARED, "state-prepared");
	must_not(ioctl(device, LIVEUPDATE_IOCTL_FD_PRESERVE, &other), EBUSY, "preserve-is-too-late");
	must(ioctl(device, LIVEUPDATE_IOCTL_EVENT_FREEZE), "freeze");
	state_is(device, LIVEUPDATE_STATE_FROZEN, "state-frozen");

	/* From here on the kernel holds it: this program can exit. */
	printf("token %llu\n", (unsigned long long)kept.token);
	return 0;
}

static int after(const char *token)
{
	struct liveupdate_fd kept = { .fd = -1 };
	int device = open_device();
	int again;

	kept.token = strtoull(token, NULL, 10);
	state_is(device, LIVEUPDATE_STATE_UPDATED, "state-updated");
	must(ioctl(device, LIVEUPDATE_IOCTL_FD_RESTORE, &kept), "restore");
	verify(kept.fd, "contents");
	again = ioctl(device, LIVEUPDATE_IOCTL_FD_RESTORE, &kept);
	must_not(again, EINVAL, "restore-once-only");
	must(ioctl(device, LIVEUPDATE_IOCTL_EVENT_FINISH), "finish");
	state_is(device, LIVEUPDATE_STATE_NORMAL, "state-normal-at-last");
	verify(kept.fd, "contents-after-finish");
	must_not(ioctl(device, LIVEUPDATE_IOCTL_EVENT_FINISH), EINVAL, "finish-once-only");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "1"))
		return before();
	if (argc == 3 && !strcmp(argv[1], "2"))
		return after(argv[2]);
	fprintf(stderr, "usage: rfc_client 1 | rfc_client 2 TOKEN\n");
	return 2;
}
