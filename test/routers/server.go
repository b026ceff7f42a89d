// The router of Go's net/http. Answers which of its handlers was asked.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func answer(handler string) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		response.Header().Set("X-Handler", handler)
		fmt.Fprintf(response, "%s %s", handler, request.Method)
	}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/admin", answer("admin"))
	mux.HandleFunc("/admin/", answer("admin"))
	mux.HandleFunc("/", answer("other"))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], mux))
}
