// A poem server as Go's users write it: one goroutine a connection.
//
//	server PORT FILE [BYTES MILLISECONDS]
//
// GOMAXPROCS says how many threads. It ends with CloseWrite and reads until the reader leaves, as byron does.
package main

import (
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"time"
)

func main() {
	poem, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	step, pause := len(poem), time.Duration(0)
	if len(os.Args) > 4 {
		step, _ = strconv.Atoi(os.Args[3])
		ms, _ := strconv.Atoi(os.Args[4])
		pause = time.Duration(ms) * time.Millisecond
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		reader, err := listener.Accept()
		if err != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		go recite(reader.(*net.TCPConn), poem, step, pause)
	}
}

func recite(reader *net.TCPConn, poem []byte, step int, pause time.Duration) {
	defer reader.Close()
	for at := 0; at < len(poem); at += step {
		end := at + step
		if end > len(poem) {
			end = len(poem)
		}
		if _, err := reader.Write(poem[at:end]); err != nil {
			return
		}
		if pause > 0 {
			time.Sleep(pause)
		}
	}
	reader.CloseWrite()
	reader.SetReadDeadline(time.Now().Add(30 * time.Second))
	io.Copy(io.Discard, io.LimitReader(reader, 1<<20))
}
