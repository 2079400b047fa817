/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Counts how often it was started, over any number of kernels. */
#include <luo_client.h>

#include <errno.h>
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

/* Whether a call is to be made again: luod was lost in it, and the next one is there, or the
 * kernel is busy, or hangs. One that serves others goes on with that, and calls again later. */
static int again(struct luo_workload *workload, int result)
{
    if (result == -EBUSY) {
        sleep(1);
        return 1;
    }
    if (result != -ECONNRESET && result != -ETIMEDOUT)
        return 0;
    check(luo_workload_reconnect(workload, 60000), "reconnect");
    return 1;
}

/* What the previous kernel left, or a first beginning. */
static struct luo_regions *begin(struct luo_workload *workload)
{
    struct luo_regions *regions;
    int session, result, incoming;

    if (luo_workload_can_claim(workload, "counter") != 1) {
        check(luo_regions_new(&regions), "new regions");
        check(luo_regions_create(regions, "starts", 8), "a region");
        return regions;
    }
    do
        session = luo_workload_claim(workload, "counter", &incoming);
    while (again(workload, session));
    check(session, "claim");
    /* What was taken back is here alone: this must not end because luod does, or the kernel
     * hangs. */
    check(luo_regions_restore_from(session, &regions), "restore");
    do
        result = luo_workload_restored(workload);
    while (again(workload, result));
    check(result, "restored");
    do
        result = luo_workload_finish_session(workload, "counter");
    while (again(workload, result));
    check(result, "finish");
    close(session);
    return regions;
}

/* The next event, and the answer to it. */
static int turn(struct luo_workload *workload)
{
    struct luo_event event;
    int result = luo_workload_next_event(workload, -1, &event);

    if (result < 0 || event.kind == LUO_EVENT_CANCEL)
        return result;
    /* Before an answer to a freeze, a program that serves others stops doing so. */
    return luo_workload_ready(workload, &event);
}

int main(void)
{
    struct luo_workload *workload;
    struct luo_regions *regions;
    struct luo_region region;
    uint64_t *starts;
    int session, result;

    check(luo_workload_register(NULL, "counter", NULL, 0, &workload), "register");
    regions = begin(workload);
    check(luo_regions_get(regions, "starts", &region), "the region");
    starts = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);
    if (starts == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    *starts += 1;
    printf("start %llu\n", (unsigned long long)*starts);
    fflush(stdout);
    do
        session = luo_workload_create_session(workload, "counter");
    while (again(workload, session));
    check(session, "a session");
    check(luo_regions_preserve_into(regions, session), "preserve");
    for (;;) {
        result = turn(workload);
        /* ESTALE: an answer that came late; a cancel is the next event. With the other
         * numbers the agent is lost. The session is still there, and the agent starts
         * again. */
        if (result < 0 && result != -ESTALE)
            check(luo_workload_reconnect(workload, 60000), "reconnect");
    }
}
