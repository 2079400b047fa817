// SPDX-License-Identifier: MIT OR Apache-2.0

// Counts how often it was started, over any number of kernels.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	name  = "counter"
	token = 1
)

// A connection to luod: JSON with a zero byte behind it, and descriptors beside it.
type agent struct {
	*net.UnixConn
	buffer []byte
	fds    []int
}

// The error of an answer that came too late. The next event says why.
var errLate = errors.New("nothing waits for this answer any more")

// The error of a call that is possible when an update is over, or when luod has seen that an
// earlier connection of this program is.
var errNotNow = errors.New("not now: an update is under way, or this workload is connected already")

// The error of a call that the kernel is too busy for, or hangs in. Nothing is lost by that: it can
// be made again.
var errBusy = errors.New("the kernel is busy")

func (a *agent) call(method string, parameters, reply any, fds ...int) error {
	method = "org.liveupdate.Client." + method
	asked := map[string]any{"method": method}
	if parameters != nil {
		asked["parameters"] = parameters
	}
	message, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	var along []byte
	if len(fds) > 0 {
		along = syscall.UnixRights(fds...)
	}
	if _, _, err := a.WriteMsgUnix(append(message, 0), along, nil); err != nil {
		return err
	}
	message, err = a.receive()
	if err != nil {
		return err
	}
	answer := struct {
		Error      string
		Parameters json.RawMessage
	}{Parameters: []byte("{}")}
	if err := json.Unmarshal(message, &answer); err != nil {
		return err
	}
	var number struct{ Errno syscall.Errno }
	_ = json.Unmarshal(answer.Parameters, &number)
	switch {
	case strings.HasSuffix(answer.Error, ".NotExpected"):
		return errLate
	case strings.HasSuffix(answer.Error, ".UpdateUnderWay"), strings.HasSuffix(answer.Error, ".WorkloadTaken"):
		return errNotNow
	case answer.Error != "" && (number.Errno == syscall.EBUSY || number.Errno == syscall.ETIMEDOUT):
		return errBusy
	case answer.Error != "":
		log.Fatalf("%s: %s %s", method, answer.Error, answer.Parameters)
	case reply != nil:
		return json.Unmarshal(answer.Parameters, reply)
	}
	return nil
}

func (a *agent) receive() ([]byte, error) {
	for {
		if end := bytes.IndexByte(a.buffer, 0); end >= 0 {
			message := a.buffer[:end]
			a.buffer = a.buffer[end+1:]
			return message, nil
		}
		part, along := make([]byte, 65536), make([]byte, 64)
		read, alongRead, _, _, err := a.ReadMsgUnix(part, along)
		if err == nil && read == 0 {
			err = io.EOF
		}
		if err != nil {
			return nil, err
		}
		a.buffer = append(a.buffer, part[:read]...)
		messages, err := syscall.ParseSocketControlMessage(along[:alongRead])
		if err != nil {
			return nil, err
		}
		for i := range messages {
			fds, err := syscall.ParseUnixRights(&messages[i])
			if err != nil {
				return nil, err
			}
			a.fds = append(a.fds, fds...)
		}
	}
}

// The descriptor that came with the last answer.
func (a *agent) taken() int {
	fd := a.fds[len(a.fds)-1]
	a.fds = nil
	syscall.CloseOnExec(fd)
	return fd
}

// Registers, and says which sessions can be claimed.
func register() (*agent, []string, error) {
	folder := os.Getenv("LUOD_RUNTIME_DIRECTORY")
	if folder == "" {
		folder = "/run/luod"
	}
	address := &net.UnixAddr{Net: "unix", Name: folder + "/client"}
	connection, err := net.DialUnix("unix", nil, address)
	if err != nil {
		return nil, nil, err
	}
	a := &agent{UnixConn: connection}
	var registered struct{ Claimable []string }
	err = a.call("Register", map[string]any{"workload": name, "needs": []string{}}, &registered)
	return a, registered.Claimable, err
}

// Preserves a file in a session (PRESERVE_FD), or takes it back (RETRIEVE_FD).
func ioctl(session int, command uintptr, fd int) int {
	argument := struct {
		size  uint32
		fd    int32
		token uint64
	}{16, int32(fd), token}
	pointer := uintptr(unsafe.Pointer(&argument))
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(session), command, pointer)
	if errno != 0 {
		log.Fatalf("ioctl %#x: %v", command, errno)
	}
	return int(argument.fd)
}

// Memory of a page, in a file without a name. Under vm.memfd_noexec one that may not be executed
// comes back from an update sealed against every change, so it is one that may, where the kernel
// knows that word and the machine does not forbid it.
func memory() int {
	number := map[string]uintptr{"amd64": 319, "arm64": 279, "riscv64": 279}[runtime.GOARCH]
	label := []byte("starts\x00")
	const cloexec, exec = 0x1, 0x10
	name := uintptr(unsafe.Pointer(&label[0]))
	fd, _, errno := syscall.Syscall(number, name, cloexec|exec, 0)
	if errno == syscall.EINVAL || errno == syscall.EACCES {
		fd, _, errno = syscall.Syscall(number, name, cloexec, 0)
	}
	if errno != 0 {
		log.Fatal("memfd_create: ", errno)
	}
	must(syscall.Ftruncate(int(fd), 4096))
	return int(fd)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Connects again after luod was lost, and gives it the session, if there is one. Says whether
// luod has known it. This program runs on meanwhile: the session is still there, and luod starts
// again.
func (a *agent) again(session int, incoming bool) bool {
	for {
		time.Sleep(100 * time.Millisecond)
		next, claimable, err := register()
		known := len(claimable) > 0
		// What came from the previous kernel and luod does not know was finished before.
		if err == nil && session >= 0 && (known || !incoming) {
			err = next.call("AttachSession", map[string]any{"name": name}, nil, session)
		}
		if err == nil {
			a.Close()
			*a = *next
			return known
		}
		if next != nil {
			next.Close()
		}
	}
}

// Makes a call after the jump, and makes it again where luod is lost in it, or the kernel hangs:
// what was taken back is here alone until it is in a session again. A program that serves others
// does this beside that.
func (a *agent) surely(method string, parameters any, session int) {
	for {
		err := a.call(method, parameters, nil)
		if err == nil || err == errLate {
			must(err)
			return
		}
		if err == errNotNow {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err == errBusy {
			time.Sleep(time.Second)
			continue
		}
		known := a.again(session, true)
		switch {
		case method == "FinishSession" && !known:
			return // It was finished before luod was lost.
		case method == "CreateSession" && known:
			// It was made before luod was lost.
			method, parameters = "Claim", map[string]any{"session": name}
		}
	}
}

func main() {
	const preserve, retrieve = 0xba40, 0xba41
	a, claimable, err := register()
	must(err)
	var file int
	if len(claimable) > 0 {
		a.surely("Claim", map[string]any{"session": name}, -1)
		session := a.taken()
		file = ioctl(session, retrieve, -1)
		a.surely("Restored", nil, session)
		a.surely("FinishSession", map[string]any{"name": name}, session)
		must(syscall.Close(session))
	} else {
		file = memory()
	}
	starts, err := syscall.Mmap(file, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(err)
	count := binary.LittleEndian.Uint64(starts) + 1
	binary.LittleEndian.PutUint64(starts, count)
	fmt.Println("start", count)

	a.surely("CreateSession", map[string]any{"name": name}, -1)
	session := a.taken()
	ioctl(session, preserve, file)
	for {
		var next struct {
			Event *struct{ Kind, Update string }
		}
		err := a.call("NextEvent", nil, &next)
		if err == nil && next.Event != nil && next.Event.Kind != "cancel" {
			// Before an answer to a freeze, a program that serves others stops doing so.
			answer := map[string]any{"update": next.Event.Update, "step": next.Event.Kind, "veto": nil}
			err = a.call("Answer", answer, nil)
		}
		if err != nil && err != errLate && err != errBusy {
			a.again(session, false)
		}
	}
}
