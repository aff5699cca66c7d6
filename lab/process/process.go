// SPDX-License-Identifier: Apache-2.0

// Package process runs programs of the lab. They end at the latest when this process
// does, whatever ends that.
package process

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stopGrace is how long a program has after SIGTERM before SIGKILL follows.
	stopGrace = 5 * time.Second

	// outputGrace bounds the wait for the output of a program that has ended.
	outputGrace = 500 * time.Millisecond

	// tailSize is how many bytes of a program's last output its errors quote.
	tailSize = 2 << 10
)

// Options says which program to run, and where.
type Options struct {
	Path string   // required: the program, looked up in PATH if it has no slash
	Args []string // optional: its arguments, without its name

	Name      string    // optional: what errors call it; empty means the base name of Path
	Env       []string  // optional: KEY=VALUE, added to this process's environment
	Dir       string    // optional: working directory; empty means this process's
	Namespace string    // optional: network namespace to run in; empty means this process's
	LogFile   string    // optional: file that its output and errors are appended to
	Log       io.Writer // optional: also receives its output and errors
}

// A Process is a program that this one started, in a process group of its own.
// It ends at the latest when this process does, whatever ends that.
type Process struct {
	name   string
	pid    int
	lent   bool // another process started it, and holds the lab
	cancel context.CancelFunc
	tail   *tail

	done chan struct{} // closed when the program has ended
	err  error         // how it ended; valid when done is closed
}

// Start starts a program. It gets SIGTERM when ctx is done, and SIGKILL if it
// has not ended 5 seconds after that.
func Start(ctx context.Context, opts Options) (*Process, error) {
	name := opts.Name
	if name == "" {
		name = filepath.Base(opts.Path)
	}
	path, args := opts.Path, opts.Args
	if opts.Namespace != "" {
		// ip(8) replaces itself by the program, so that signals reach it directly.
		path, args = "ip", append([]string{"netns", "exec", opts.Namespace, path}, args...)
	}

	p := &Process{name: name, tail: new(tail), done: make(chan struct{})}
	log, err := openLog(opts, p.tail)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	output, input, err := os.Pipe()
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}

	ctx, p.cancel = context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = opts.Dir
	cmd.Env = append(os.Environ(), opts.Env...)
	cmd.Stdout, cmd.Stderr = input, input
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = stopGrace

	// Pdeathsig is sent when the thread that started the program ends, and threads
	// do end: with a goroutine that is locked to one, as those that change their
	// network namespace are. So a thread stays with the program.
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		input.Close() // the program has its own
		started <- err
		if err == nil {
			p.wait(cmd, output, log)
		}
	}()
	if err := <-started; err != nil {
		p.cancel()
		output.Close()
		log.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// Adopt returns a program that another process has started as Start does. How it
// ends stays unknown.
func Adopt(name string, pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("find %s, process %d: %w", name, pid, err)
	}
	p := &Process{name: name, pid: pid, lent: true, tail: new(tail), done: make(chan struct{})}
	p.cancel = func() {
		// That it has ended is no error.
		_ = p.Kill(unix.SIGTERM)
		time.AfterFunc(stopGrace, func() { _ = p.Kill(unix.SIGKILL) })
	}
	go func() {
		defer unix.Close(fd)
		defer close(p.done)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return p, nil
}

// wait records how the program ended, and takes away what is left of its group.
func (p *Process) wait(cmd *exec.Cmd, output *os.File, log io.WriteCloser) {
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(log, output) // a log that is full is no reason to stop a program
	}()
	p.err = cmd.Wait()
	p.cancel()
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	// A daemon that left the group may hold the pipe for as long as it runs.
	_ = output.SetReadDeadline(time.Now().Add(outputGrace))
	<-copied
	output.Close()
	log.Close()
	close(p.done)
}

// A log is where a program's output goes.
type log struct {
	io.Writer
	file *os.File // nil if there is none
}

func openLog(opts Options, tail io.Writer) (log, error) {
	writers := []io.Writer{tail}
	if opts.Log != nil {
		writers = append(writers, opts.Log)
	}
	if opts.LogFile == "" {
		return log{io.MultiWriter(writers...), nil}, nil
	}
	f, err := os.OpenFile(opts.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return log{}, err
	}
	return log{io.MultiWriter(append(writers, f)...), f}, nil
}

// Close closes the log's file. What was given as Log stays open.
func (l log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// PID is the program's process number.
func (p *Process) PID() int { return p.pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Await polls until ready reports no error. It gives up when ctx is done, or when the
// program has ended.
func (p *Process) Await(ctx context.Context, every time.Duration, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return cmp.Or(p.Wait(), fmt.Errorf("%s ended before it was ready", p.name))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w%s", p.name, err, p.tail.quote())
		case <-time.After(every):
		}
	}
}

// Lent reports whether another process started the program.
func (p *Process) Lent() bool { return p.lent }

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits until the program has ended, and reports how, with the last of its
// output, unless it ended with status 0.
func (p *Process) Wait() error {
	<-p.done
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s ended: %w%s", p.name, p.err, p.tail.quote())
}

// Kill sends a signal to the program and its children.
func (p *Process) Kill(sig unix.Signal) error {
	select {
	case <-p.done:
		return fmt.Errorf("signal %s: %w", p.name, os.ErrProcessDone)
	default:
	}
	if err := unix.Kill(-p.pid, sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Stop sends SIGTERM, after 5 seconds SIGKILL, and returns when the program has
// ended. Stopping it again does nothing.
func (p *Process) Stop() {
	p.cancel()
	<-p.done
}

// A tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex // guards the field below
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if extra := len(t.buf) - tailSize; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(b), nil
}

// quote returns what is kept, indented, to follow an error's text.
func (t *tail) quote() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(bytes.TrimSpace(t.buf))
	if text == "" {
		return ""
	}
	return "\n\t" + strings.ReplaceAll(text, "\n", "\n\t")
}
