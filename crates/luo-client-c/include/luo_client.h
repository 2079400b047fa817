/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Live update for programs whose state is to survive a kernel update: the kernel's calls,
 * memory with names, and the agent luod.
 *
 * A function gives 0, a descriptor or a count, or an error number below zero, for example
 * -ENOENT; luo_last_error_message() says it in words. Besides the numbers that a function
 * names there are, for all of them: EFAULT for a null pointer, EINVAL for a string that is
 * too long or not UTF-8, ENOMEM, EMFILE. Those of the agent (luo_workload_*) also give
 * ECONNRESET: the agent is gone, see luo_workload_reconnect(); ETIMEDOUT: it did not answer,
 * and EPROTO: it is not to be understood, which both end the connection; EOPNOTSUPP: it is
 * of another version.
 *
 * Strings end with a zero byte. Descriptors that are given out are close-on-exec, and the
 * caller's to close; those that are passed in stay the caller's. A handle is used by one
 * thread at a time.
 *
 * The library never writes to standard output, installs no signal handler and starts no
 * thread. It is not for a child between fork and exec.
 *
 * Link with -lluo_client. Two whole programs: crates/luo-client-c/examples.
 *
 * Generated from crates/luo-client-c by cbindgen; a test keeps it in step.
 */


#ifndef LUO_CLIENT_H
#define LUO_CLIENT_H

#include <stddef.h>
#include <stdint.h>

// Get ready: preserve what is to survive, and answer.
#define LUO_EVENT_PREPARE 1

// Stand still: change nothing of it any more, and answer.
#define LUO_EVENT_FREEZE 2

// The update is off: go on as before. It is not answered.
#define LUO_EVENT_CANCEL 3

// Bytes of an update's id, its end included.
#define LUO_UPDATE_SIZE 128

// Bytes of a reason, its end included.
#define LUO_REASON_SIZE 1025

// No update is under way.
#define LUO_PHASE_NORMAL 0

// Workloads are asked to get ready.
#define LUO_PHASE_PREPARING 1

// All workloads are ready; they run on.
#define LUO_PHASE_PREPARED 2

// Workloads are asked to stand still.
#define LUO_PHASE_FREEZING 3

// All workloads stand still.
#define LUO_PHASE_FROZEN 4

// The machine is about to jump.
#define LUO_PHASE_JUMPING 5

// The update is being undone.
#define LUO_PHASE_CANCELLING 6

// After the jump: workloads take back their sessions.
#define LUO_PHASE_UPDATED 7

// Named regions of memory and the program's own bytes beside them.
struct luo_regions;

// A program that takes part in updates.
struct luo_workload;

// A region of memory, to be mapped.
struct luo_region {
    // Bytes.
    uint64_t size;
    // Its token in the session.
    uint64_t token;
    // A memfd. It belongs to the regions and is open until they are freed.
    int fd;
};

// An event: what the agent asks of a workload next.
struct luo_event {
    // One of `LUO_EVENT_*`.
    uint32_t kind;
    // Zero.
    uint32_t reserved;
    // Milliseconds from now within which the answer has to be there; 0 if none is
    // expected.
    uint64_t deadline_ms;
    // The update's id, which the answer repeats.
    char update[LUO_UPDATE_SIZE];
    // Why the update is off; empty if no reason was given. A longer reason is cut.
    char reason[LUO_REASON_SIZE];
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The message of the last call of this thread that failed, for people; empty if none
// has. It is valid until the next call of this thread fails, or the thread ends.
const char *luo_last_error_message(void);

// Opens `/dev/liveupdate`. Gives a descriptor, or EBUSY: somebody holds it; EIO: what
// was handed over could not be taken over; ENOENT: live update is not there; EACCES.
int luo_device_open(void);

// Makes a session for the next kernel, with a name of 1 to 63 bytes. Gives its
// descriptor, or EEXIST; ENOSPC; EINVAL: not a name.
int luo_device_create_session(int device, const char *name);

// Takes back a session of the previous kernel. Gives its descriptor, or ENOENT: there is
// none of this name; EINVAL: it was retrieved already.
int luo_device_retrieve_session(int device, const char *name);

// Preserves a file in a session. Gives 0, or EEXIST: the token is taken; EBUSY: the file
// is preserved already; ENOENT: no handler knows this kind of file; EBADF; ENOSPC.
int luo_session_preserve_fd(int session, int fd, uint64_t token);

// Takes one file back out of a session for the next kernel. Gives 0, or ENOENT; EBUSY:
// the file took part in a prepare; ENOTTY, EINVAL: the kernel cannot do that.
int luo_session_unpreserve_fd(int session, uint64_t token);

// Freezes a session for the next kernel before all others are, so that it does not make the
// blackout of all longer. From then on it does not change, and what is written to its files may
// not arrive; closing it undoes that. Gives 0, or EBUSY: it is frozen already, or another session
// that needs it is to be frozen first; EINVAL: it is of the previous kernel; ENOLINK: a file needs
// one that is not there; ENOTTY, EINVAL: the kernel cannot do that; or what a file's handler says.
int luo_session_freeze(int session);

// Takes back a file. Gives its descriptor, or ENOENT: nothing was preserved under this
// token; ENOTCONN: it needs a file that its owner has not taken back yet, so try again;
// EAGAIN: its handler is not here yet, so try again when its kernel module is loaded;
// ENOTRECOVERABLE: the reboot could not hand it over, and it is lost; or an error of its
// handler, which is final.
int luo_session_retrieve_fd(int session, uint64_t token);

// Says that a file needs another of the same session. Gives 0, or ENOENT; ELOOP; EEXIST;
// EBUSY: the file took part in a prepare; ENOTTY, EINVAL: the kernel cannot do that.
int luo_session_add_dependency(int session, uint64_t token, uint64_t on);

// Writes a session's name and a zero into a buffer, which takes up to 64 bytes. Gives
// the name's length, or ERANGE: the buffer is too small; ENOTTY: not a session.
int luo_session_name(int session, char *buffer, size_t size);

// Ends a session of the previous kernel: files that nobody retrieved are released. Gives
// 0, or EBUSY: a file cannot be let go of yet; EINVAL: it is for the next kernel.
int luo_session_finish(int session);

// Loads the next kernel: an image, an initrd or -1 for none, and a command line. Gives
// 0, or an error of the kernel. An agent does this for its workloads.
int luo_kexec_load(int kernel, int initrd, const char *command_line);

// Jumps into the kernel that was loaded. It returns only if that is refused.
int luo_kexec_execute(void);

// Makes an empty set of regions. Gives 0. `luo_regions_free` frees it.
int luo_regions_new(struct luo_regions **regions);

// Closes and frees regions; NULL is allowed. Mappings stay.
void luo_regions_free(struct luo_regions *regions);

// Makes a region of `size` bytes, all zero, with a name of 1 to 128 bytes. Gives 0, or
// EEXIST: there is one of that name; EINVAL: not a name or a size; ENOSPC: there are
// 4,096.
int luo_regions_create(struct luo_regions *regions, const char *name, uint64_t size);

// Fills in the facts of a region. Gives 0, or ENOENT.
int luo_regions_get(const struct luo_regions *regions,
                    const char *name,
                    struct luo_region *region);

// Sets the program's own bytes, 1 MiB at most, which travel with the regions. They are
// written when the regions are preserved. Gives 0, or E2BIG.
int luo_regions_set_metadata(struct luo_regions *regions,
                             const void *bytes,
                             size_t length);

// Copies the program's own bytes into a buffer of `size` bytes. Gives their number, or
// ERANGE: the buffer is too small.
int luo_regions_metadata(const struct luo_regions *regions, void *buffer, size_t size);

// Preserves all regions in a session, under tokens 0 to 4,096. Gives 0, or an error of
// `luo_session_preserve_fd`; what was preserved is taken back then.
int luo_regions_preserve_into(const struct luo_regions *regions, int session);

// Takes all regions back from a session of the previous kernel. Gives 0, or ENOENT: it
// has none; EBADMSG: they are damaged; EPROTONOSUPPORT: they are of another version; or
// an error of `luo_session_retrieve_fd`. Nothing is released then.
int luo_regions_restore_from(int session, struct luo_regions **regions);

// Connects to the agent whose sockets lie in `folder` (NULL: the machine's) and becomes
// the workload `name`, which needs others: those are prepared and restored before it, and
// frozen after it.
// Gives 0, or ENOENT, ECONNREFUSED: there is no agent; EACCES: the policy forbids it;
// EBUSY: another connection is this workload; EAGAIN: an update is under way; EINVAL:
// not a name; EDQUOT: there are too many. `luo_workload_free` frees it.
int luo_workload_register(const char *folder,
                          const char *name,
                          const char *const *needs,
                          size_t needs_count,
                          struct luo_workload **workload);

// Ends the connection and frees the workload; NULL is allowed. Without
// `luo_workload_unregister` or `luo_workload_detach` before, it is lost to the agent as
// if the program had died.
void luo_workload_free(struct luo_workload *workload);

// The descriptor of the connection, for `poll`; it can be read when there is an event.
// It belongs to the workload, and is another one after `luo_workload_reconnect`.
int luo_workload_fd(struct luo_workload *workload);

// Where the agent was when the workload registered: one of `LUO_PHASE_*`.
int luo_workload_phase(struct luo_workload *workload);

// Whether, when the workload registered, this session could be claimed: 1 or 0.
int luo_workload_can_claim(struct luo_workload *workload, const char *session);

// How many milliseconds the agent has for an answer that waits for nobody, 30,000 if
// nothing else is said, and how many `luo_workload_claim` and
// `luo_workload_finish_session` wait, which have no limit but the agent's. Negative
// numbers are no limit. Gives 0.
int luo_workload_set_times(struct luo_workload *workload,
                           int64_t timeout_ms,
                           int64_t patience_ms);

// Makes a session for the next kernel, of which the agent keeps a copy. Gives its
// descriptor, or EACCES: the policy forbids it; EDQUOT: there are too many; EAGAIN: an
// update is under way; or an error of the kernel.
int luo_workload_create_session(struct luo_workload *workload, const char *session);

// Gives the agent a copy of a session that it does not have. Gives 0, or EBADF: it is
// not that session.
int luo_workload_attach(struct luo_workload *workload, const char *session, int fd);

// Says that a file is going to be preserved in a session, so that checks look at it: now,
// and before each update. Gives 0, or ENOEXEC: an update would fail because of it, and
// the message says why and what to do; it is declared nevertheless. ENOENT: there is no
// such session.
int luo_workload_declare(struct luo_workload *workload,
                         const char *session,
                         uint64_t token,
                         int fd);

// Ends a session for the next kernel: the workload and the agent close their copies. If
// the caller has no descriptor of it either, its files are released. Gives 0, or ENOENT;
// EAGAIN: an update is under way.
int luo_workload_drop_session(struct luo_workload *workload, const char *session);

// Waits for the next event, so many milliseconds at most; a negative number is no limit,
// and 0 does not wait. Gives 1, or 0: there is none yet.
//
// In an event loop: call it with 0 until it gives 0, then wait until the descriptor can
// be read. Do so after each other call as well: another call ends the wait for an event,
// and an event may have come with its answer.
int luo_workload_next_event(struct luo_workload *workload,
                            int64_t timeout_ms,
                            struct luo_event *event);

// Answers an event: the workload has done what was asked for. Gives 0, or ESTALE: the
// answer is not expected, because the update is over, or it is late.
int luo_workload_ready(struct luo_workload *workload, const struct luo_event *event);

// Answers an event: the workload cannot do it, and the update has to be called off. The
// first 1,024 bytes of the reason are shown to the administrator. Gives as
// `luo_workload_ready`.
int luo_workload_veto(struct luo_workload *workload,
                      const struct luo_event *event,
                      const char *reason);

// Leaves the sessions with the agent, which gives them back to the same identity: in an
// update once the workload is ready, else at any time. Gives 0, or ESTALE: the workload is
// asked to prepare and has not agreed, or is asked to freeze, or has a session of the
// previous kernel that it has not finished; EACCES: the agent has nothing that would keep
// the sessions if it died. All that is left to do is to free it.
int luo_workload_detach(struct luo_workload *workload);

// Ends the registration; the agent lets go of the workload's sessions. Gives 0, or EAGAIN:
// an update is under way. All that is left to do is to free it.
int luo_workload_unregister(struct luo_workload *workload);

// Takes a session back, once the workloads that this one needs serve again. Gives its
// descriptor, and in `incoming` 1 if it came from the previous kernel: its files are to
// be retrieved; else 0: it was in the agent's custody. Or ENOENT, EACCES, ETIMEDOUT.
int luo_workload_claim(struct luo_workload *workload, const char *session, int *incoming);

// Tells the agent that the workload serves again after an update. Workloads that need it
// may go on then. Gives 0, or ESTALE: there was no update.
int luo_workload_restored(struct luo_workload *workload);

// Finishes a session of the previous kernel: files that were not retrieved are released.
// Gives 0, or ENOENT; EBUSY: a file cannot be let go of yet, or the kernel hangs in
// something else; ETIMEDOUT: it hangs in this. What was retrieved is there all the same: go
// on serving, and call it again later, after ETIMEDOUT as after ECONNRESET.
int luo_workload_finish_session(struct luo_workload *workload,
                                const char *session);

// Connects again after ECONNRESET, registers, and gives the agent copies of all sessions
// and declared files again. It tries for so many milliseconds; a negative number is
// EINVAL. Gives 0, or the error of the last attempt. The call in which the agent was lost can
// be made again then: a session that it had made or finished is not made or finished twice.
int luo_workload_reconnect(struct luo_workload *workload,
                           int64_t within_ms);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LUO_CLIENT_H */
