// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// An UpdateWatch records which IPv4 prefixes the BGP UPDATE messages name that reach a
// machine, with the time at which each arrived.
type UpdateWatch struct {
	conn *packet.Conn
	done sync.WaitGroup

	mu   sync.Mutex // guards the field below
	seen map[netip.Prefix][]update
}

// An update is one mention of a prefix.
type update struct {
	time      time.Time
	withdrawn bool
}

// WatchUpdates starts to listen on the machine's first link. The caller closes the watch.
func (m *Machine) WatchUpdates() (*UpdateWatch, error) {
	w := &UpdateWatch{seen: map[netip.Prefix][]update{}}
	err := m.Namespace.Do(func() error {
		link, err := net.InterfaceByName(lanLink)
		if err != nil {
			return err
		}
		w.conn, err = packet.Listen(link, packet.Datagram, unix.ETH_P_IP, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch BGP updates to %s: %w", m.Name, err)
	}
	w.done.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, _, err := w.conn.ReadFrom(buf)
			if err != nil {
				return // it is closed
			}
			w.record(time.Now(), bgpPayload(buf[:n]))
		}
	})
	return w, nil
}

// Close ends the watch.
func (w *UpdateWatch) Close() {
	_ = w.conn.Close()
	w.done.Wait()
}

// First returns when a prefix was first announced, or withdrawn, since a time; zero: it was
// not.
func (w *UpdateWatch) First(p netip.Prefix, since time.Time, withdrawn bool) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.seen[p] {
		if u.withdrawn == withdrawn && !u.time.Before(since) {
			return u.time
		}
	}
	return time.Time{}
}

// Seen reports whether any message has named a prefix.
func (w *UpdateWatch) Seen(p netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen[p]) > 0
}

func (w *UpdateWatch) record(now time.Time, stream []byte) {
	announced, withdrawn := updatePrefixes(stream)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range withdrawn {
		w.seen[p] = append(w.seen[p], update{now, true})
	}
	for _, p := range announced {
		w.seen[p] = append(w.seen[p], update{now, false})
	}
}

// bgpPayload returns what an IPv4 packet carries of a connection to port 179.
func bgpPayload(ip []byte) []byte {
	if len(ip) < 20 || ip[9] != unix.IPPROTO_TCP {
		return nil
	}
	header, length := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if header < 20 || length > len(ip) || length < header+20 {
		return nil
	}
	tcp := ip[header:length]
	if binary.BigEndian.Uint16(tcp) != 179 && binary.BigEndian.Uint16(tcp[2:]) != 179 {
		return nil
	}
	offset := int(tcp[12]>>4) * 4
	if offset > len(tcp) {
		return nil
	}
	return tcp[offset:]
}

// updatePrefixes returns the IPv4 prefixes that the UPDATE messages at the beginning of a
// segment name; RFC 4271, Section 4.3. A message that goes on in another segment is left out.
func updatePrefixes(stream []byte) (announced, withdrawn []netip.Prefix) {
	const header, typeUpdate = 19, 2
	for len(stream) >= header {
		length := int(binary.BigEndian.Uint16(stream[16:]))
		if length < header || length > len(stream) {
			break
		}
		if stream[18] == typeUpdate {
			gone, rest := sized(stream[header:length])
			_, nlri := sized(rest)
			withdrawn = append(withdrawn, prefixes(gone)...)
			announced = append(announced, prefixes(nlri)...)
		}
		stream = stream[length:]
	}
	return announced, withdrawn
}

// sized cuts a field whose length precedes it in two bytes.
func sized(b []byte) (field, rest []byte) {
	if len(b) < 2 {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, nil
	}
	return b[:n], b[n:]
}

// prefixes decodes a list of IPv4 prefixes.
func prefixes(b []byte) (out []netip.Prefix) {
	for len(b) > 0 {
		bits := int(b[0])
		n := (bits + 7) / 8
		if bits > 32 || len(b) < 1+n {
			break
		}
		var a [4]byte
		copy(a[:], b[1:1+n])
		out = append(out, netip.PrefixFrom(netip.AddrFrom4(a), bits))
		b = b[1+n:]
	}
	return out
}
