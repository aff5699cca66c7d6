// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/heraldlb/herald/lab/process"
)

// A containerOptions says how a container of a pod runs a program. What a pod
// does not allow is missing here too: root's capabilities, a writable root, the
// files and processes of others.
type containerOptions struct {
	process.Options
	Root            string           // optional: the file system that is the image; empty means one with nothing but the program
	Dir             string           // required without Root: a folder to put that in, which stays empty for others
	Mounts          []containerMount // optional: the volumes
	UID, GID        int              // optional
	Groups          []int            // optional: supplementary groups, as a pod's fsGroup
	Capabilities    []string         // optional: the only ones, as Kubernetes writes them
	ReadOnly        bool             // optional: the image cannot be written
	NoNewPrivileges bool             // optional: no program that is run has more
}

// A containerMount is a volume of a container.
type containerMount struct {
	From     string // the folder
	To       string // where the container finds it
	ReadOnly bool
}

// imagePath is what a shell in an image is given; nothing else of the environment
// of this process is.
const imagePath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runtimeCapabilities are those that a container has which drops none.
var runtimeCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// capabilities are the numbers of those that a manifest of Herald's may name.
var capabilities = map[string]uintptr{
	"AUDIT_WRITE": unix.CAP_AUDIT_WRITE, "CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
	"FOWNER": unix.CAP_FOWNER, "FSETID": unix.CAP_FSETID, "KILL": unix.CAP_KILL, "MKNOD": unix.CAP_MKNOD,
	"NET_ADMIN": unix.CAP_NET_ADMIN, "NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "NET_RAW": unix.CAP_NET_RAW,
	"SETFCAP": unix.CAP_SETFCAP, "SETGID": unix.CAP_SETGID, "SETPCAP": unix.CAP_SETPCAP, "SETUID": unix.CAP_SETUID,
	"SYS_ADMIN": unix.CAP_SYS_ADMIN, "SYS_CHROOT": unix.CAP_SYS_CHROOT,
}

// process returns the process that becomes the container: this program again, in a
// mount namespace and with process numbers of its own. When it ends its children are
// killed.
func (opts containerOptions) process() (process.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return process.Options{}, err
	}
	spec, err := json.Marshal(opts)
	if err != nil {
		return process.Options{}, err
	}
	p := opts.Options
	if p.Name == "" {
		p.Name = filepath.Base(p.Path)
	}
	p.Path, p.Args = "unshare", []string{"--mount", "--pid", "--fork", "--kill-child", self, string(spec)}
	p.Env = []string{helperVariable + "=container"}
	return p, nil
}

// startContainer starts a program on the machine as Kubernetes would in a
// container, with the host's network.
func (m *Machine) startContainer(opts containerOptions) (*process.Process, error) {
	p, err := opts.process()
	if err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", opts.Name, m.Name, err)
	}
	return m.Start(p)
}

// becomeContainer turns this process, which is alone in its namespaces, into the
// container's program.
func becomeContainer(_ context.Context, args []string) error {
	var opts containerOptions
	if len(args) != 1 {
		return fmt.Errorf("%d arguments, want 1", len(args))
	}
	if err := json.Unmarshal([]byte(args[0]), &opts); err != nil {
		return err
	}
	program, err := opts.image()
	if err != nil {
		return err
	}
	if err := opts.drop(); err != nil {
		return err
	}
	env := append([]string{imagePath}, opts.Env...)
	if err := unix.Exec(program, append([]string{program}, opts.Args...), env); err != nil {
		return fmt.Errorf("run %s: %w", program, err)
	}
	return nil
}

// image makes the container's file system the root, and returns where in it the
// program is.
func (opts containerOptions) image() (program string, err error) {
	root, program := opts.Root, opts.Path
	switch root {
	case "":
		root, program = opts.Dir, "/"+filepath.Base(opts.Path)
		err = opts.scratch(root, program)
	case "/":
	default:
		err = mount(root, root, unix.MS_BIND|unix.MS_REC)
	}
	if err != nil {
		return "", err
	}
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
		return "", fmt.Errorf("mount proc: %w", err)
	}
	// A runtime leaves it to the host to set these.
	sys := filepath.Join(root, "proc/sys")
	if err := errors.Join(mount(sys, sys, unix.MS_BIND), readOnly(sys)); err != nil {
		return "", err
	}
	for _, m := range opts.Mounts {
		if err := m.mount(root); err != nil {
			return "", err
		}
	}
	if opts.ReadOnly {
		if err := readOnly(root); err != nil {
			return "", err
		}
	}
	if root == "/" {
		return program, nil
	}
	if err := unix.Chdir(root); err != nil {
		return "", fmt.Errorf("enter %s: %w", root, err)
	}
	// The old root ends up on top of the new one, from where it is taken away, with
	// all that is mounted in it.
	if err := unix.PivotRoot(".", "."); err != nil {
		return "", fmt.Errorf("make %s the root: %w", root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return "", fmt.Errorf("leave the old root: %w", err)
	}
	return program, unix.Chdir("/")
}

// scratch fills an image that has only the program, and what a runtime adds.
func (opts containerOptions) scratch(root, program string) error {
	if err := unix.Mount("image", root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount image on %s: %w", root, err)
	}
	dirs := []string{"proc", "dev"}
	for _, m := range opts.Mounts {
		dirs = append(dirs, m.To)
	}
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{program: opts.Path}
	for _, d := range []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"} {
		files[d] = d
	}
	for to, from := range files {
		to = filepath.Join(root, to)
		if err := os.WriteFile(to, nil, 0o755); err != nil {
			return err
		}
		if err := mount(from, to, unix.MS_BIND); err != nil {
			return err
		}
	}
	return nil
}

// mount puts a volume in its place. Links on the way there, such as /var/run, are the
// image's.
func (m containerMount) mount(root string) error {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", root, err)
	}
	defer unix.Close(dir)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	to, err := unix.Openat2(dir, m.To, how)
	if err != nil {
		return fmt.Errorf("find %s in %s: %w", m.To, root, err)
	}
	defer unix.Close(to)
	target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", to))
	if err != nil {
		return err
	}
	if err := mount(m.From, target, unix.MS_BIND); err != nil || !m.ReadOnly {
		return err
	}
	return readOnly(target)
}

// mount binds one folder or file to another.
func mount(from, to string, flags uintptr) error {
	if err := unix.Mount(from, to, "", flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", from, to, err)
	}
	return nil
}

// readOnly makes a mount one that this namespace cannot write to.
func readOnly(dir string) error {
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", dir, err)
	}
	return nil
}

// drop gives away what the container does not have. It is about the thread that goes
// on to run the program.
func (opts containerOptions) drop() error {
	runtime.LockOSThread()
	var keep []uintptr
	for _, name := range opts.Capabilities {
		number, ok := capabilities[name]
		if !ok {
			return fmt.Errorf("unknown capability %s", name)
		}
		keep = append(keep, number)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(keep, c) {
			continue
		}
		// A kernel that is older than the constant does not know the last ones.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("drop inheritable capabilities: %w", err)
	}
	if err := unix.Setgroups(opts.Groups); err != nil {
		return fmt.Errorf("set groups %v: %w", opts.Groups, err)
	}
	if err := unix.Setresgid(opts.GID, opts.GID, opts.GID); err != nil {
		return fmt.Errorf("become group %d: %w", opts.GID, err)
	}
	if err := unix.Setresuid(opts.UID, opts.UID, opts.UID); err != nil {
		return fmt.Errorf("become user %d: %w", opts.UID, err)
	}
	if opts.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("allow no new privileges: %w", err)
		}
	}
	// It ends with its parent, which the kernel forgets about a process that becomes
	// another user.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("end with the parent: %w", err)
	}
	return nil
}

// innermost returns the process number of the program that a process was started to
// run: of a container, its own.
func innermost(pid int) (int, error) {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		first, _, _ := strings.Cut(string(text), " ")
		if first == "" {
			return pid, nil
		}
		if pid, err = strconv.Atoi(first); err != nil {
			return 0, err
		}
	}
}

// groupID returns the number of a group in a file system.
func groupID(root, name string) (int, error) {
	file, err := os.Open(filepath.Join(root, "etc/group"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if field := strings.Split(s.Text(), ":"); len(field) > 2 && field[0] == name {
			return strconv.Atoi(field[2])
		}
	}
	return 0, fmt.Errorf("no group %s in %s", name, file.Name())
}
