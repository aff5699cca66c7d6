// SPDX-License-Identifier: Apache-2.0

// Package simulation runs a large cluster's controller and agents in one process, in fake
// time, and counts what they cost.
//
// What runs is Herald's own code: the loops, what reads from and writes to the API server,
// and gossip. The API server and the network are in memory, FRR accepts every line, and an
// address is answered for as soon as an agent says so. One process cannot hold a thousand
// copies of all objects: some agents run as a whole, of the others gossip alone does. These
// are given the addresses that the same functions elect them for.
package simulation
