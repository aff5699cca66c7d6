// SPDX-License-Identifier: Apache-2.0

package l2

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// addressed drops the frames that the kernel's own protocols drop: frames to other hosts,
// and all frames of a VLAN for which this link has no interface. At this point the kernel
// has removed the frame's tag, so that only the packet type shows it.
var addressed = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpLessThan, Val: unix.PACKET_OTHERHOST, SkipTrue: 1}, // host, broadcast, multicast
	bpf.RetConstant{Val: 0},
}

// filters pass the frames that parseARP and parseNDP may accept, among those of each
// protocol's Ethernet type.
var filters = [protocols][]bpf.Instruction{
	ARP: {
		bpf.LoadAbsolute{Off: ethernetLen, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: hardwareEthernet<<16 | 0x0800, SkipTrue: 4},
		bpf.LoadAbsolute{Off: ethernetLen + 4, Size: 4}, // lengths and operation
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0604_0001, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x0604_0002, SkipTrue: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	},
	NDP: {
		bpf.LoadAbsolute{Off: ethernetLen + 6, Size: 2}, // next header and hop limit
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6<<8 | maxHopLimit, SkipTrue: 4},
		bpf.LoadAbsolute{Off: ethernetLen + ipv6Len, Size: 2}, // type and code
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 135 << 8, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 136 << 8, SkipTrue: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	},
}

// assemble returns the filter that the kernel runs for a protocol.
func assemble(p Protocol) ([]bpf.RawInstruction, error) {
	raw, err := bpf.Assemble(slices.Concat(addressed, filters[p]))
	if err != nil {
		return nil, fmt.Errorf("assemble filter for %s: %w", p, err)
	}
	return raw, nil
}
