// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/heraldlb/herald/kube"
)

// defaultPagePort is where controllers serve the page without --page-address.
const defaultPagePort = 7474

// reforwardAfter is how long web waits before it forwards to another controller.
const reforwardAfter = 2 * time.Second

// A webJob has the flags of web.
type webJob struct {
	connection *connection
	port       int
	noBrowser  bool
	open       func(ctx context.Context, url string) error // opens a browser
}

func webCommand(c *connection) *cobra.Command {
	job := webJob{connection: c, open: openBrowser}
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Open the web page that shows what works and why not",
		Long: `Web forwards a port of this machine to the leading controller, and opens its page in a
browser: all pools, Services, nodes and routers as one picture, and each of them in full. It
goes on until it is interrupted, and follows the controllers when another one leads.

It needs the rights to list pods and to create pods/portforward in Herald's namespace, and
to get the Lease of the controllers there.

Exit status: 0 if it was interrupted; 2 if no page could be reached.`,
		Example: `  heraldctl web
  heraldctl web --no-browser --port 8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			return job.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVarP(&job.port, "port", "p", 0, "port of this machine; 0: 7474, or any other one if that is taken")
	cmd.Flags().BoolVar(&job.noBrowser, "no-browser", false, "open no browser")
	return cmd
}

// run forwards until the context is canceled. Once a page was reached, it follows the
// controllers.
func (j *webJob) run(ctx context.Context, stdout, stderr io.Writer) error {
	port := j.port
	if port == 0 {
		port = freePort(defaultPagePort)
	}
	reached, opened := false, false
	for {
		err := j.forward(ctx, port, func(pod kube.PagePod, url string, at int) {
			reached, port = true, at // an open page finds the next controller, too
			if pod.Leading {
				fmt.Fprintf(stdout, "%s shows what %s knows, which leads. Interrupt to end.\n", url, pod.Name)
			} else {
				fmt.Fprintf(stdout, "%s shows what %s knows, which is on standby. Interrupt to end.\n", url, pod.Name)
			}
			if opened || j.noBrowser {
				return
			}
			opened = true
			if err := j.open(ctx, url); err != nil {
				fmt.Fprintf(stderr, "no browser was opened: %v\n", err)
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		if !reached || errors.Is(err, errNoPage) {
			return err
		}
		fmt.Fprintf(stderr, "%v; trying again\n", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reforwardAfter):
		}
	}
}

// errNoPage is the error that controllers serve none.
var errNoPage = errors.New("the controllers serve no page: --page-address is empty")

// forward forwards a port to a controller's page, until that ends.
func (j *webJob) forward(ctx context.Context, port int, ready func(pod kube.PagePod, url string, port int)) error {
	api, err := j.connection.config()
	if err != nil {
		return err
	}
	client, err := kube.NewClient(api)
	if err != nil {
		return err
	}
	pod, err := kube.PageOf(ctx, client, j.connection.namespace)
	if err != nil {
		return err
	}
	scheme, remote, err := pageOf(pod)
	if err != nil {
		return err
	}
	return forwardPort(ctx, api, j.connection.namespace, pod.Name, port, remote, func(port int) {
		ready(pod, fmt.Sprintf("%s://localhost:%d/", scheme, port), port)
	})
}

// pageOf returns how a pod serves its page, and on which port.
func pageOf(pod kube.PagePod) (scheme string, port int, err error) {
	if pod.Address == nil {
		return "http", defaultPagePort, nil
	}
	if *pod.Address == "" {
		return "", 0, errNoPage
	}
	host, text, err := net.SplitHostPort(*pod.Address)
	if err != nil {
		return "", 0, fmt.Errorf("--page-address of pod %s: %w", pod.Name, err)
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("--page-address of pod %s: %w", pod.Name, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return "http", port, nil
	}
	return "https", port, nil
}

// freePort returns a port of this machine if nobody listens on it, else 0: any.
func freePort(port int) int {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0
	}
	l.Close()
	return port
}
