// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A containerOptions says how a container of a pod runs a program. What a pod
// does not allow is missing here too: root's capabilities, a writable root, the
// processes of others.
type containerOptions struct {
	ProcessOptions
	Root         string   // required: the file system that is the image
	Capabilities []string // required: the only ones, as setpriv(1) writes them
	Groups       []int    // optional: supplementary groups, as a pod's fsGroup
	Scratch      []string // optional: folders that are empty and writable
}

// startContainer starts a program on the machine as Kubernetes would in a
// container, with the host's network: as root, with few capabilities and no way to
// more, a root that cannot be written, and process numbers of its own. When the
// program ends its children are killed.
func (m *Machine) startContainer(opts containerOptions) (*Process, error) {
	const script = `
root=$1 caps=$2 groups=$3 mode=$4
shift 4
[ "$root" = / ] || mount --rbind "$root" "$root"
while [ "$1" != -- ]; do
	mount -t tmpfs -o "$mode" tmpfs "$root$1"
	shift
done
shift
mount -o remount,bind,ro /
if [ "$root" != / ]; then
	mount -t proc proc "$root/proc"
	mount -o remount,bind,ro "$root"
	exec chroot "$root" setpriv --bounding-set="$caps" --inh-caps=-all $groups --no-new-privs "$@"
fi
exec setpriv --bounding-set="$caps" --inh-caps=-all $groups --no-new-privs "$@"`
	caps := "-all"
	for _, c := range opts.Capabilities {
		caps += ",+" + c
	}
	groups, mode := "--clear-groups", "mode=0777"
	if len(opts.Groups) > 0 {
		list := make([]string, len(opts.Groups))
		for i, g := range opts.Groups {
			list[i] = strconv.Itoa(g)
		}
		groups, mode = "--groups="+strings.Join(list, ","), fmt.Sprintf("mode=2775,gid=%d", opts.Groups[0])
	}
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc", script, "sh", opts.Root, caps, groups, mode}
	args = append(append(args, opts.Scratch...), "--", opts.Path)
	if opts.Name == "" {
		opts.Name = filepath.Base(opts.Path)
	}
	process := opts.ProcessOptions
	process.Path, process.Args = "unshare", append(args, opts.Args...)
	return m.Start(process)
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
