package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// timeout bounds each request: a refusal must come at once, and silence is a failure.
const timeout = 3 * time.Second

func request(method string, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say one URL")
	}
	req, err := http.NewRequest(strings.ToUpper(method), args[0], nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: timeout}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}

func ask(network string, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say one address")
	}
	conn, err := net.DialTimeout(network, args[0], timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, "who?"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	fmt.Print(line)
	return err
}
