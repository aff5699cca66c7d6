// SPDX-License-Identifier: Apache-2.0

package members

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// drops returns how many packets the kernel has dropped at a socket, by the filter or for
// lack of room.
func drops(fd int) (uint32, error) {
	var info [9]uint32 // SK_MEMINFO_VARS; the last is SK_MEMINFO_DROPS
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return info[len(info)-1], nil
}
