// SPDX-License-Identifier: Apache-2.0

// Herald-kube is the Kubernetes control plane of Herald's lab in one binary:
// its first argument names the program to be, and the rest are that program's
// own flags.
//
// Linked into one file, the four programs share almost all of their code, so
// that they build in one go and take a quarter of the space. It has a Go module
// of its own to keep the dependencies of Kubernetes out of Herald's.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
)

// programs runs each program with its arguments, the first of which is its
// name, and returns its exit status. Kubernetes' are constructed only when they
// are asked for, since that sets flags and feature gates of the whole process.
var programs = map[string]func(args []string) int{
	"etcd":                    etcd,
	"kube-apiserver":          kubernetes(apiserver.NewAPIServerCommand),
	"kube-controller-manager": kubernetes(controllermanager.NewControllerManagerCommand),
	"kube-proxy":              kubernetes(kubeproxy.NewProxyCommand),
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) > 0 {
		if program, ok := programs[args[0]]; ok {
			return program(args)
		}
	}
	names := slices.Sorted(maps.Keys(programs))
	fmt.Fprintf(os.Stderr, "usage: herald-kube %s [flags]\n", strings.Join(names, "|"))
	return 2
}

// etcd exits by itself when it ends badly.
func etcd(args []string) int {
	etcdmain.Main(args)
	return 0
}

func kubernetes(command func() *cobra.Command) func(args []string) int {
	return func(args []string) int {
		os.Args = args // which is what the command parses
		return cli.Run(command())
	}
}
