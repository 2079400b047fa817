/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Userspace interface for /dev/liveupdate, beyond <linux/liveupdate.h>
 *
 * First the calls of the original proposal (RFC v2, May 2025): states, events, and
 * files that belong to an open instance of the device. Then calls that neither it
 * nor mainline has: dependencies between files, and queries.
 *
 * All are told apart by their whole value. An unknown one gets -ENOTTY.
 *
 * What moves or shows the whole machine takes CAP_SYS_ADMIN at the call, else -EACCES: the
 * events, the FD calls, LIST_PARTICIPANTS and GET_FAILURE. A caller
 * without it finds its own user's sessions and files in the lists, and no others.
 */
#ifndef _UAPI_LINUX_LIVEUPDATE_CONTRACT_H
#define _UAPI_LINUX_LIVEUPDATE_CONTRACT_H

#include <linux/ioctl.h>
#include <linux/liveupdate.h>
#include <linux/types.h>

/**
 * enum liveupdate_state - where the machine is in a live update
 * @LIVEUPDATE_STATE_NORMAL: Nothing is under way.
 * @LIVEUPDATE_STATE_PREPARED: Everybody has agreed, and the set of what is preserved
 *	is fixed.
 * @LIVEUPDATE_STATE_FROZEN: Nobody touches what is preserved any more. The reboot freezes
 *	everything anew, and writes it down for the next kernel.
 * @LIVEUPDATE_STATE_UPDATED: The previous kernel handed over, and not all of it is
 *	finished.
 */
enum liveupdate_state {
	LIVEUPDATE_STATE_NORMAL = 0,
	LIVEUPDATE_STATE_PREPARED = 1,
	LIVEUPDATE_STATE_FROZEN = 2,
	LIVEUPDATE_STATE_UPDATED = 3,
};

/**
 * enum liveupdate_event - what moves the machine from state to state
 * @LIVEUPDATE_PREPARE: Normal to prepared.
 * @LIVEUPDATE_FREEZE: Prepared to frozen.
 * @LIVEUPDATE_FINISH: Updated to normal.
 * @LIVEUPDATE_CANCEL: Prepared or frozen to normal.
 */
enum liveupdate_event {
	LIVEUPDATE_PREPARE = 0,
	LIVEUPDATE_FREEZE = 1,
	LIVEUPDATE_FINISH = 2,
	LIVEUPDATE_CANCEL = 3,
};

/**
 * struct liveupdate_fd - LIVEUPDATE_IOCTL_FD_PRESERVE and LIVEUPDATE_IOCTL_FD_RESTORE
 * @fd: The descriptor: input to preserve, output (O_CLOEXEC) of restore.
 * @flags: Input; must be zero.
 * @token: The kernel's name for the file, unique over the machine's chain of kernels:
 *	output of preserve, input to restore.
 */
struct liveupdate_fd {
	int		fd;
	__u32		flags;
	__u64		token;
};

/**
 * LIVEUPDATE_IOCTL_FD_PRESERVE - register a file, to be preserved at prepare
 *
 * It belongs to this open instance of the device, and is unregistered with its close
 * unless a prepare came before. States normal and updated, else -EBUSY.
 *
 * Return: 0. -EBADF; -ENOENT, no handler for it; -EBUSY, also if it is preserved
 * already; -EINVAL, flags.
 */
#define LIVEUPDATE_IOCTL_FD_PRESERVE \
	_IOWR(LIVEUPDATE_IOCTL_TYPE, 0x00, struct liveupdate_fd)

/**
 * LIVEUPDATE_IOCTL_FD_UNPRESERVE - take a registration of this instance back
 *
 * States normal and updated, else -EBUSY.
 *
 * Return: 0. -ENOENT, this instance has no such token.
 */
#define LIVEUPDATE_IOCTL_FD_UNPRESERVE \
	_IOW(LIVEUPDATE_IOCTL_TYPE, 0x01, __u64)

/**
 * LIVEUPDATE_IOCTL_FD_RESTORE - restore a file that the previous kernel registered
 *
 * Once: of many who ask, one gets it. State updated, else -EBUSY.
 *
 * Return: 0. -ENOENT, unknown token; -EINVAL, restored already, or flags;
 * -ENOTRECOVERABLE, the reboot could not hand it over; -EAGAIN, its handler, or that of a
 * file that it needs, is not here yet: once its module is loaded it can be had; else what
 * the file's handler answers, the same each time.
 */
#define LIVEUPDATE_IOCTL_FD_RESTORE \
	_IOWR(LIVEUPDATE_IOCTL_TYPE, 0x02, struct liveupdate_fd)

/**
 * LIVEUPDATE_IOCTL_GET_STATE - read the state
 *
 * Return: 0.
 */
#define LIVEUPDATE_IOCTL_GET_STATE \
	_IOR(LIVEUPDATE_IOCTL_TYPE, 0x03, enum liveupdate_state)

/**
 * LIVEUPDATE_IOCTL_EVENT_PREPARE - normal to prepared
 *
 * Files are preserved, what they need first, and subsystems asked. A veto undoes all
 * of it in reverse order, and the state is normal.
 *
 * Return: 0. -EINVAL, not normal; -EAGAIN, killed while waiting for another
 * transition; -ENOLINK, a file needs another that is not there; else the veto.
 */
#define LIVEUPDATE_IOCTL_EVENT_PREPARE	_IO(LIVEUPDATE_IOCTL_TYPE, 0x04)

/**
 * LIVEUPDATE_IOCTL_EVENT_FREEZE - prepared to frozen, the last step before the kexec
 *
 * Return: As LIVEUPDATE_IOCTL_EVENT_PREPARE; after a veto the state is normal.
 */
#define LIVEUPDATE_IOCTL_EVENT_FREEZE	_IO(LIVEUPDATE_IOCTL_TYPE, 0x05)

/**
 * LIVEUPDATE_IOCTL_EVENT_CANCEL - prepared or frozen to normal
 *
 * Return: 0. -EINVAL, another state; -EAGAIN.
 */
#define LIVEUPDATE_IOCTL_EVENT_CANCEL	_IO(LIVEUPDATE_IOCTL_TYPE, 0x06)

/**
 * LIVEUPDATE_IOCTL_EVENT_FINISH - updated to normal
 *
 * What nobody took back is released.
 *
 * Return: 0. -EINVAL, another state; -EAGAIN.
 */
#define LIVEUPDATE_IOCTL_EVENT_FINISH	_IO(LIVEUPDATE_IOCTL_TYPE, 0x07)

/*
 * From here on the arguments begin with their size and grow by the rules of
 * <linux/liveupdate.h>.
 *
 * On the device, the calls on files mean those of the open instance.
 */
enum {
	LIVEUPDATE_CMD_CONTRACT_BASE = 0x80,
	LIVEUPDATE_CMD_UNPRESERVE_FD = LIVEUPDATE_CMD_CONTRACT_BASE,
	LIVEUPDATE_CMD_ADD_DEPENDENCY = 0x81,
	LIVEUPDATE_CMD_DROP_DEPENDENCY = 0x82,
	LIVEUPDATE_CMD_LIST_FILES = 0x83,
	LIVEUPDATE_CMD_LIST_DEPENDENCIES = 0x84,
	LIVEUPDATE_CMD_LIST_SESSIONS = 0x85,
	LIVEUPDATE_CMD_GET_INFO = 0x86,
	LIVEUPDATE_CMD_LIST_PARTICIPANTS = 0x87,
	LIVEUPDATE_CMD_GET_FAILURE = 0x88,
	LIVEUPDATE_CMD_CONTRACT_SESSION_FREEZE = 0x89,
};

/* Bytes of the name of a participant, null termination included */
#define LIVEUPDATE_PARTICIPANT_NAME_LENGTH	48

/**
 * struct liveupdate_unpreserve_fd - ioctl(LIVEUPDATE_IOCTL_UNPRESERVE_FD)
 * @size: Input; sizeof(struct liveupdate_unpreserve_fd)
 * @reserved: Input; must be zero.
 * @token: Input; the file.
 *
 * Takes one file back out of an outgoing session. A file that needs it misses it
 * from now on. On a session.
 *
 * Return: 0. -ENOENT; -EINVAL, a retrieved session; -EBUSY, the file took part in a prepare, or
 * the session is frozen.
 */
struct liveupdate_unpreserve_fd {
	__u32		size;
	__u32		reserved;
	__aligned_u64	token;
};

#define LIVEUPDATE_IOCTL_UNPRESERVE_FD \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_UNPRESERVE_FD)

/*
 * Proposed for <linux/liveupdate.h> in October 2026, with this name and this argument. The number
 * is not settled there, so it is one of this header's own; who includes a <linux/liveupdate.h>
 * that has the call gets that one's.
 */
#ifndef LIVEUPDATE_SESSION_FREEZE
/**
 * struct liveupdate_session_freeze - ioctl(LIVEUPDATE_SESSION_FREEZE)
 * @size: Input; sizeof(struct liveupdate_session_freeze)
 * @reserved: Input; must be zero.
 *
 * Freezes an outgoing session before all others are, so that it does not make the blackout of all
 * longer. Its handlers have their last look now, and neither the event FREEZE nor the reboot asks
 * them again. From here on the session does not change, and what is written to its files may not
 * arrive. Its close undoes that, and so does what undoes the freeze of all: a cancel, or a freeze
 * or a reboot that fails. On a session.
 *
 * A file of another session that needs one of this is to be frozen first, with its session.
 *
 * Return: 0. Else the session is as before: -EBUSY, it is frozen already, or another is to be
 * frozen first; -EINVAL, a retrieved session; -ENOLINK, a file needs one that is not there; else
 * the veto of a file's handler, which LIVEUPDATE_IOCTL_LIST_FILES shows at the file.
 */
struct liveupdate_session_freeze {
	__u32		size;
	__u32		reserved;
};

#define LIVEUPDATE_SESSION_FREEZE \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_CONTRACT_SESSION_FREEZE)
#endif

/* The file that is needed was registered on the device; its token alone names it */
#define LIVEUPDATE_DEPENDENCY_ON_DEVICE		(1U << 0)

/* The file that is needed is in the session that @session_fd is a descriptor of */
#define LIVEUPDATE_DEPENDENCY_BY_DESCRIPTOR	(1U << 1)

/**
 * struct liveupdate_dependency - ioctl(LIVEUPDATE_IOCTL_ADD_DEPENDENCY) and
 *	ioctl(LIVEUPDATE_IOCTL_DROP_DEPENDENCY)
 * @size: Input; sizeof(struct liveupdate_dependency)
 * @flags: Input; 0, %LIVEUPDATE_DEPENDENCY_ON_DEVICE or
 *	%LIVEUPDATE_DEPENDENCY_BY_DESCRIPTOR.
 * @token: Input; the file that needs another, of this descriptor.
 * @on_token: Input; the file that is needed.
 * @on_session: Input; the outgoing session that one is in, all zero for this
 *	descriptor's own, and with a flag.
 * @session_fd: Input; with %LIVEUPDATE_DEPENDENCY_BY_DESCRIPTOR a descriptor of the
 *	outgoing session that one is in, else zero.
 * @reserved: Input; must be zero.
 *
 * What is needed is preserved and restored before, frozen, cancelled and finished
 * after the file that needs it. If it is not there at prepare or freeze, the whole
 * update fails with -ENOLINK. On a session and on the device.
 *
 * A session that is not the caller's own has to be shown: by its descriptor, or by its
 * name if the caller has CAP_SYS_ADMIN and both sessions are the administrator's.
 *
 * Return: 0. -ENOENT, a file is not there, or for DROP the dependency; -ELOOP, a
 * file would need itself; -EEXIST; -ENOSPC; -EINVAL, a retrieved session or flags;
 * -EBUSY, the file that needs another took part in a prepare, or one of the two sessions is
 * frozen; -EACCES, the other
 * session is not the caller's; -EDQUOT, the user has as many as a user may; -EBADF.
 */
struct liveupdate_dependency {
	__u32		size;
	__u32		flags;
	__aligned_u64	token;
	__aligned_u64	on_token;
	__u8		on_session[LIVEUPDATE_SESSION_NAME_LENGTH];
	__s32		session_fd;
	__u32		reserved;
};

#define LIVEUPDATE_IOCTL_ADD_DEPENDENCY \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_ADD_DEPENDENCY)
#define LIVEUPDATE_IOCTL_DROP_DEPENDENCY \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_DROP_DEPENDENCY)

/*
 * liveupdate_list.flags of LIVEUPDATE_IOCTL_LIST_SESSIONS. INCOMING also of
 * LIVEUPDATE_IOCTL_LIST_FILES on the device: what was registered on the device in the
 * previous kernel, and how it stands.
 */
#define LIVEUPDATE_LIST_OUTGOING	(1U << 0)
#define LIVEUPDATE_LIST_INCOMING	(1U << 1)

/**
 * struct liveupdate_list - all calls that list
 * @size: Input; sizeof(struct liveupdate_list)
 * @flags: Input; what to list, for LIVEUPDATE_IOCTL_LIST_SESSIONS and on the device for
 *	LIVEUPDATE_IOCTL_LIST_FILES; else zero.
 * @cursor: Input; 0 to begin, then what the last call said. Output; 0 at the end.
 * @entries: Input; address of an array of entries.
 * @entry_size: Input; sizeof an entry as the program knows it. What the kernel does
 *	not know of it is filled with zeros.
 * @capacity: Input; entries the array has room for.
 * @count: Output; entries written.
 * @reserved: Input; must be zero.
 * @total: Output; entries there are altogether, as of this call.
 * @token: Input; the file, for LIVEUPDATE_IOCTL_LIST_DEPENDENCIES, else zero.
 *
 * To be called until @cursor is 0.
 *
 * Return: 0. -ESTALE, the entry at the cursor is gone: begin anew; -EINVAL; -ENOENT,
 * there is no such file; -EFAULT.
 */
struct liveupdate_list {
	__u32		size;
	__u32		flags;
	__aligned_u64	cursor;
	__aligned_u64	entries;
	__u32		entry_size;
	__u32		capacity;
	__u32		count;
	__u32		reserved;
	__aligned_u64	total;
	__aligned_u64	token;
};

/**
 * enum liveupdate_file_status - how a file stands
 * @LIVEUPDATE_FILE_BUSY: A call on it is under way.
 * @LIVEUPDATE_FILE_REGISTERED: Registered on the device; preserved at prepare.
 * @LIVEUPDATE_FILE_PRESERVED: Preserved.
 * @LIVEUPDATE_FILE_FROZEN: Frozen.
 * @LIVEUPDATE_FILE_INCOMING: From the previous kernel; nobody has asked for it.
 * @LIVEUPDATE_FILE_RETRIEVED: Restored.
 * @LIVEUPDATE_FILE_FAILED: Its handler could not restore it.
 * @LIVEUPDATE_FILE_MISSING: Needed by another, and not there any more.
 * @LIVEUPDATE_FILE_LOST: The reboot could not hand it over.
 */
enum liveupdate_file_status {
	LIVEUPDATE_FILE_BUSY = 0,
	LIVEUPDATE_FILE_REGISTERED = 1,
	LIVEUPDATE_FILE_PRESERVED = 2,
	LIVEUPDATE_FILE_FROZEN = 3,
	LIVEUPDATE_FILE_INCOMING = 4,
	LIVEUPDATE_FILE_RETRIEVED = 5,
	LIVEUPDATE_FILE_FAILED = 6,
	LIVEUPDATE_FILE_MISSING = 7,
	LIVEUPDATE_FILE_LOST = 8,
};

/**
 * struct liveupdate_file_info - an entry of LIVEUPDATE_IOCTL_LIST_FILES
 * @token: Its token.
 * @bytes: Bytes of memory it keeps over the update; 0 if not known.
 * @status: One of enum liveupdate_file_status.
 * @error: An error number, positive, or 0. Of an incoming file, EAGAIN: it waits for its
 *	handler, which is not here yet; ENOTCONN: it was asked for, and needs one of another
 *	session that is not restored. Of a preserved file, its handler's veto, because of which
 *	LIVEUPDATE_SESSION_FREEZE has failed.
 * @dependencies: Files it needs.
 * @dependents: Files that need it.
 * @handler: The handler's name, null-terminated.
 */
struct liveupdate_file_info {
	__aligned_u64	token;
	__aligned_u64	bytes;
	__u32		status;
	__u32		error;
	__u32		dependencies;
	__u32		dependents;
	__u8		handler[LIVEUPDATE_PARTICIPANT_NAME_LENGTH];
};

/* The files of a session, or of this open instance; struct liveupdate_list */
#define LIVEUPDATE_IOCTL_LIST_FILES \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_LIST_FILES)

/**
 * struct liveupdate_dependency_info - an entry of LIVEUPDATE_IOCTL_LIST_DEPENDENCIES
 * @token: The token of the file that is needed.
 * @status: One of enum liveupdate_file_status.
 * @flags: 0 or %LIVEUPDATE_DEPENDENCY_ON_DEVICE.
 * @session: The session it is in, null-terminated.
 */
struct liveupdate_dependency_info {
	__aligned_u64	token;
	__u32		status;
	__u32		flags;
	__u8		session[LIVEUPDATE_SESSION_NAME_LENGTH];
};

/* What one file needs; struct liveupdate_list; on a session and on the device */
#define LIVEUPDATE_IOCTL_LIST_DEPENDENCIES \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_LIST_DEPENDENCIES)

/**
 * enum liveupdate_session_state - how a session stands
 * @LIVEUPDATE_SESSION_OPEN: Outgoing, held by a descriptor.
 * @LIVEUPDATE_SESSION_CLOSED: Outgoing, its descriptor is closed; it goes with a
 *	cancel, or over with the kexec.
 * @LIVEUPDATE_SESSION_UNCLAIMED: Incoming; nobody has asked for it.
 * @LIVEUPDATE_SESSION_CLAIMED: Incoming, held by a descriptor.
 * @LIVEUPDATE_SESSION_UNFINISHED: Incoming, closed, and a file of it is not let go.
 */
enum liveupdate_session_state {
	LIVEUPDATE_SESSION_OPEN = 1,
	LIVEUPDATE_SESSION_CLOSED = 2,
	LIVEUPDATE_SESSION_UNCLAIMED = 3,
	LIVEUPDATE_SESSION_CLAIMED = 4,
	LIVEUPDATE_SESSION_UNFINISHED = 5,
};

/* liveupdate_session_info.flags: the files of one open instance of the device */
#define LIVEUPDATE_SESSION_OF_DEVICE	(1U << 0)

/* The same: outgoing, and frozen by LIVEUPDATE_SESSION_FREEZE */
#define LIVEUPDATE_SESSION_FROZEN	(1U << 1)

/**
 * struct liveupdate_session_info - an entry of LIVEUPDATE_IOCTL_LIST_SESSIONS
 * @files: Files in it.
 * @bytes: Bytes of memory they keep over the update, as far as known.
 * @direction: %LIVEUPDATE_LIST_OUTGOING or %LIVEUPDATE_LIST_INCOMING.
 * @state: One of enum liveupdate_session_state.
 * @flags: %LIVEUPDATE_SESSION_OF_DEVICE, %LIVEUPDATE_SESSION_FROZEN, or 0.
 * @reserved: Zero.
 * @name: Its name, null-terminated.
 */
struct liveupdate_session_info {
	__aligned_u64	files;
	__aligned_u64	bytes;
	__u32		direction;
	__u32		state;
	__u32		flags;
	__u32		reserved;
	__u8		name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

/* All sessions, those that nobody has claimed included; struct liveupdate_list */
#define LIVEUPDATE_IOCTL_LIST_SESSIONS \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_LIST_SESSIONS)

/**
 * enum liveupdate_participant_kind - what takes part in a live update
 * @LIVEUPDATE_PARTICIPANT_FILE_HANDLER: Handles files of a type.
 * @LIVEUPDATE_PARTICIPANT_FLB: State that files of a type share.
 * @LIVEUPDATE_PARTICIPANT_SUBSYSTEM: A subsystem.
 * @LIVEUPDATE_PARTICIPANT_AWAITED: A file handler that is not here, for which files of the
 *	previous kernel wait; @files of the entry says how many.
 */
enum liveupdate_participant_kind {
	LIVEUPDATE_PARTICIPANT_FILE_HANDLER = 1,
	LIVEUPDATE_PARTICIPANT_FLB = 2,
	LIVEUPDATE_PARTICIPANT_SUBSYSTEM = 3,
	LIVEUPDATE_PARTICIPANT_AWAITED = 4,
};

/**
 * struct liveupdate_participant_info - an entry of LIVEUPDATE_IOCTL_LIST_PARTICIPANTS
 * @files: Files it has a part in.
 * @kind: One of enum liveupdate_participant_kind.
 * @reserved: Zero.
 * @name: Its name, null-terminated.
 */
struct liveupdate_participant_info {
	__aligned_u64	files;
	__u32		kind;
	__u32		reserved;
	__u8		name[LIVEUPDATE_PARTICIPANT_NAME_LENGTH];
};

/* File handlers, FLBs and subsystems; struct liveupdate_list */
#define LIVEUPDATE_IOCTL_LIST_PARTICIPANTS \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_LIST_PARTICIPANTS)

/* liveupdate_info.features */
#define LIVEUPDATE_FEATURE_RFC			(1ULL << 0)
#define LIVEUPDATE_FEATURE_DEPENDENCIES		(1ULL << 1)
#define LIVEUPDATE_FEATURE_SUBSYSTEMS		(1ULL << 2)
#define LIVEUPDATE_FEATURE_CARRY		(1ULL << 3)
#define LIVEUPDATE_FEATURE_POLL			(1ULL << 4)
#define LIVEUPDATE_FEATURE_MANY_OPENERS		(1ULL << 5)
#define LIVEUPDATE_FEATURE_ACCESS_MODE		(1ULL << 6)
#define LIVEUPDATE_FEATURE_SESSION_FREEZE	(1ULL << 7)

/* liveupdate_info.lost_flags: there were sessions that could not be read */
#define LIVEUPDATE_LOST_UNREAD			(1U << 0)

/**
 * struct liveupdate_info - ioctl(LIVEUPDATE_IOCTL_GET_INFO)
 * @size: Input; sizeof(struct liveupdate_info)
 * @state: Output; one of enum liveupdate_state.
 * @update_count: Output; live updates that brought the machine here, 0 after a cold
 *	boot.
 * @state_changes: Output; changes of state since boot.
 * @features: Output; %LIVEUPDATE_FEATURE_RFC and so on.
 * @outgoing: Output; outgoing sessions.
 * @incoming: Output; incoming sessions.
 * @unclaimed: Output; incoming sessions that nobody has claimed.
 * @files: Output; files in all sessions.
 * @max_sessions: Output; the most sessions there can be.
 * @max_files_per_session: Output; the most files a session can have.
 * @max_records: Output; the most records of files, dependencies, subsystems,
 *	sessions of the device, and sessions that are not root's or are closed,
 *	together.
 * @max_subsystems: Output; the most subsystems.
 * @handover_abi: Output; the handover format, null-terminated.
 * @contract_abi: Output; the format of the supplement, which is handed over
 *	beside it.
 * @implementation: Output; name and version of the implementation.
 * @lost_files: Output; files that the reboot which brought the machine here could not
 *	hand over.
 * @lost_sessions: Output; the same for whole sessions.
 * @lost_subsystems: Output; the same for subsystems.
 * @lost_flags: Output; %LIVEUPDATE_LOST_UNREAD or 0.
 *
 * On the device. Return: 0.
 */
struct liveupdate_info {
	__u32		size;
	__u32		state;
	__aligned_u64	update_count;
	__aligned_u64	state_changes;
	__aligned_u64	features;
	__aligned_u64	outgoing;
	__aligned_u64	incoming;
	__aligned_u64	unclaimed;
	__aligned_u64	files;
	__u32		max_sessions;
	__u32		max_files_per_session;
	__u32		max_records;
	__u32		max_subsystems;
	__u8		handover_abi[16];
	__u8		contract_abi[16];
	__u8		implementation[72];
	__aligned_u64	lost_files;
	__aligned_u64	lost_sessions;
	__u32		lost_subsystems;
	__u32		lost_flags;
};

#define LIVEUPDATE_IOCTL_GET_INFO \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_GET_INFO)

/**
 * enum liveupdate_cause - what a transition failed for
 * @LIVEUPDATE_CAUSE_NONE: No transition has failed.
 * @LIVEUPDATE_CAUSE_HANDLER: A file's handler said no.
 * @LIVEUPDATE_CAUSE_SUBSYSTEM: A subsystem said no.
 * @LIVEUPDATE_CAUSE_DEPENDENCY: A file needs another that is not there.
 * @LIVEUPDATE_CAUSE_CARRY: A session that nobody claimed cannot be carried on.
 * @LIVEUPDATE_CAUSE_INTERNAL: The orchestrator itself could not.
 * @LIVEUPDATE_CAUSE_IMAGE: The image that is loaded takes nothing over.
 * @LIVEUPDATE_CAUSE_BUSY: Something is under way and does not end: a call on the
 *                         session, or, if none is named, another transition.
 */
enum liveupdate_cause {
	LIVEUPDATE_CAUSE_NONE = 0,
	LIVEUPDATE_CAUSE_HANDLER = 1,
	LIVEUPDATE_CAUSE_SUBSYSTEM = 2,
	LIVEUPDATE_CAUSE_DEPENDENCY = 3,
	LIVEUPDATE_CAUSE_CARRY = 4,
	LIVEUPDATE_CAUSE_INTERNAL = 5,
	LIVEUPDATE_CAUSE_IMAGE = 6,
	LIVEUPDATE_CAUSE_BUSY = 7,
};

/* liveupdate_failure.event: the reboot system call, before prepare and freeze */
#define LIVEUPDATE_EVENT_REBOOT		4

/**
 * struct liveupdate_failure - ioctl(LIVEUPDATE_IOCTL_GET_FAILURE)
 * @size: Input; sizeof(struct liveupdate_failure)
 * @event: Output; one of enum liveupdate_event, or %LIVEUPDATE_EVENT_REBOOT.
 * @error: Output; the error number it ended with, positive; 0 if none has failed.
 * @cause: Output; one of enum liveupdate_cause.
 * @sequence: Output; counts failures since boot.
 * @token: Output; the file, if it is about one.
 * @on_token: Output; the file it needs, for %LIVEUPDATE_CAUSE_DEPENDENCY.
 * @session: Output; the file's session, null-terminated.
 * @on_session: Output; the session of the file it needs.
 * @participant: Output; the handler or the subsystem.
 * @on_flags: Output; %LIVEUPDATE_DEPENDENCY_ON_DEVICE if @on_token alone names it.
 * @reserved: Zero.
 *
 * Why the last transition failed. On the device. Return: 0.
 */
struct liveupdate_failure {
	__u32		size;
	__u32		event;
	__u32		error;
	__u32		cause;
	__aligned_u64	sequence;
	__aligned_u64	token;
	__aligned_u64	on_token;
	__u8		session[LIVEUPDATE_SESSION_NAME_LENGTH];
	__u8		on_session[LIVEUPDATE_SESSION_NAME_LENGTH];
	__u8		participant[LIVEUPDATE_PARTICIPANT_NAME_LENGTH];
	__u32		on_flags;
	__u32		reserved;
};

#define LIVEUPDATE_IOCTL_GET_FAILURE \
	_IO(LIVEUPDATE_IOCTL_TYPE, LIVEUPDATE_CMD_GET_FAILURE)

#endif /* _UAPI_LINUX_LIVEUPDATE_CONTRACT_H */
