// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// AddLAN connects the nodes and c2 to another switch, beside the LAN that they
// have. Their ends have the name, and no address but the link-local one. The caller
// removes it: while it is there it is one more interface that agents can answer on.
func (t *Topology) AddLAN(name string) (remove func() error, err error) {
	hub, err := Namespace{Name: t.Name + "-sw"}.netlink()
	if err != nil {
		return nil, fmt.Errorf("add LAN %s: %w", name, err)
	}
	remove = func() error {
		defer hub.Close()
		var errs []error
		// With its outer end a cable is gone.
		for _, m := range t.onLAN() {
			errs = append(errs, removeLink(hub, name+"-"+m.Name))
		}
		if err := errors.Join(append(errs, removeLink(hub, name))...); err != nil {
			return fmt.Errorf("remove LAN %s: %w", name, err)
		}
		return nil
	}
	bridge, err := addBridge(hub, name, netip.Prefix{})
	for _, m := range t.onLAN() {
		if err == nil {
			err = connect(hub, bridge, name+"-"+m.Name, m.Namespace, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("add LAN %s: %w", name, errors.Join(err, remove()))
	}
	return remove, nil
}

// onLAN returns the machines that another LAN connects.
func (t *Topology) onLAN() []*Machine {
	all := []*Machine{t.LANClient}
	for _, n := range t.Nodes {
		all = append(all, n.Machine)
	}
	return all
}

// removeLink removes a link if it is there.
func removeLink(nl *netlink.Handle, name string) error {
	link, err := nl.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := nl.LinkDel(link); err != nil {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}
