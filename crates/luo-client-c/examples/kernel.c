/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Takes memory over a kexec, without an agent. To be run in both kernels; the argument is
 * the image of the second one. */
#define _GNU_SOURCE
#include <luo_client.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, luo_last_error_message());
        exit(1);
    }
    return result;
}

static void leave(int device, const char *image)
{
    int kernel = open(image, O_RDONLY | O_CLOEXEC);
    int memory = memfd_create("ram", MFD_CLOEXEC);
    int session = check(luo_device_create_session(device, "guest-7"), "create");
    int frozen;

    if (pwrite(memory, "hello", 5, 0) != 5)
        exit(1);
    check(luo_session_preserve_fd(session, memory, 7), "preserve");
    /* It is done with its memory. A kernel that cannot freeze it now does so with all others. */
    frozen = luo_session_freeze(session);
    if (frozen != -ENOTTY && frozen != -EINVAL)
        check(frozen, "freeze");
    check(luo_kexec_load(kernel, -1, ""), "load");
    check(luo_kexec_execute(), "jump");
}

int main(int argc, char **argv)
{
    char text[6] = "", name[64];
    int device = check(luo_device_open(), "open");
    int session = luo_device_retrieve_session(device, "guest-7");
    int memory;

    if (argc == 2 && session == -ENOENT)
        leave(device, argv[1]);
    check(session, "retrieve");
    memory = check(luo_session_retrieve_fd(session, 7), "the file");
    if (pread(memory, text, 5, 0) != 5)
        return 1;
    check(luo_session_name(session, name, sizeof(name)), "the name");
    check(luo_session_finish(session), "finish");
    printf("%s from %s\n", text, name);
    return 0;
}
