using System.Globalization;
using System.Text;

namespace Dmb.Bench.Fuzz;

/// <summary>Requests: valid ones of every route, and what becomes of them with mistakes.</summary>
internal static class HttpCases
{
    private static readonly string[] Methods =
    [
        "GET",
        "POST",
        "PUT",
        "DELETE",
        "HEAD",
        "OPTIONS",
        "PATCH",
        "CONNECT",
        "TRACE",
        "get",
        "BREW",
        "P\0ST",
        "",
    ];

    private static readonly string[] Headers =
    [
        "Origin: http://localhost:8082",
        "Origin: https://desk.example.com",
        "Origin: null",
        "Origin: http://[::1",
        "Origin:",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type, x\u00ff",
        "Content-Type: application/json",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: $avp(ctype)",
        "Content-Type: text/plain; charset=utf-16",
        "Content-Type: multipart/form-data",
        "Idempotency-Key: abc",
        "Idempotency-Key:",
        "Idempotency-Key: \u00e4",
        "Prefer: handling=strict",
        "Prefer: ;;,,==",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "traceparent: 00-00-00-00",
        "traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
        "tracestate: a=b,,c",
        "baggage: a=%zz;b",
        "Expect: 100-continue",
        "Expect: 200-ok",
        "Connection: close",
        "Connection: keep-alive",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "X-Forwarded-For: 10.0.0.1, unknown, [::1]:99",
        "X-Forwarded-For: ,,,",
        "X-Forwarded-Proto: https, http",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Host: evil.example\u00ff",
        "X-Forwarded-Host: a b/c",
        "Accept: text/event-stream",
        "Accept: application/json;q=x",
        "Accept-Encoding: gzip",
        "Range: bytes=0-",
        "If-None-Match: *",
        "Cookie: a=b; c",
        "TE: trailers",
        "Trailer: x",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Content-Length: 1, 1",
        " leading: space",
        "no-colon",
        "Name : space",
        ": empty",
        "X-\u00ff: latin",
        "X: \u0001",
        "Authorization: Basic !!!",
        "X-Api-Key: k",
    ];

    /// <summary>One request, or several at once on one connection.</summary>
    public static string Requests(Noise noise, string kind)
    {
        var requests = "";
        for (var more = noise.Chance(80) ? 1 : 1 + noise.Next(5); more > 0; more--)
        {
            requests += Request(noise, kind);
        }

        return requests;
    }

    private static string Request(Noise noise, string kind)
    {
        var (method, target, body) = kind switch
        {
            "publish" => ("POST", $"{noise.Pick("", "", "", "/")}/_notify/{noise.Escaped(noise.Event())}", Push(noise)),
            "batch" => ("POST", noise.Pick("/_notify", "/_notify/", "//_notify"), Batch(noise)),
            "register" => Register(noise),
            "backend" => Backend(noise),
            "events" => ("GET", Events(noise), ""),
            _ => Any(noise),
        };
        body = noise.MaybeMutated(body, 15);
        method = noise.Chance(96) ? method : noise.Pick(Methods);
        target = noise.MaybeMutated(target, 4);
        var version = noise.Chance(94)
            ? "HTTP/1.1"
            : noise.Pick("HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "", "http/1.1");
        var (framing, framed) = Framed(noise, body, hasBody: method is not "GET" and not "HEAD" || noise.Chance(5));
        var headers = new List<string>
        {
            noise.Chance(96)
                ? "Host: localhost"
                : noise.Pick("", "Host:", "Host: a\r\nHost: b", "Host: [::1", "Host: a b", "Host: localhost:99999"),
        };
        if (kind == "events" && noise.Chance(60))
        {
            headers.Add(
                $"Last-Event-ID: {(noise.Chance(50) ? $"{noise.Room()}={noise.Position()}" : noise.Odd(noise.Position()))}"
            );
        }

        for (var more = noise.Chance(65) ? 0 : noise.Next(4); more > 0; more--)
        {
            headers.Add(noise.Chance(85) ? noise.Pick(Headers) : noise.Odd("X-Odd: value"));
        }

        headers.AddRange(framing);
        if (noise.Chance(1))
        {
            headers.Add($"X-Long: {new string('x', noise.Next(70_000))}");
        }

        if (noise.Chance(1))
        {
            headers.AddRange(Enumerable.Range(0, noise.Next(300)).Select(i => $"X-{i}: {i}"));
        }

        var end = noise.Chance(98) ? "\r\n" : "\n";
        var head =
            $"{method} {target} {version}{end}{string.Join(end, headers.Where(header => header.Length > 0))}{end}{end}";
        return noise.MaybeMutated(head, 6) + framed;
    }

    private static string Push(Noise noise) =>
        noise.Next(10) switch
        {
            0 => "",
            1 => noise.Deep(),
            < 5 => noise.Json(),
            5 => noise.Spaces() + noise.Json(6) + noise.Spaces(),
            6 => noise.Json() + noise.Pick(",", "x", "\0", "{}", "\u00ff"),
            _ => noise.Members(
                (
                    "_in",
                    noise.Chance(50)
                        ? Noise.Quoted(noise.Room())
                        : $"[{string.Join(',', Enumerable.Range(0, noise.Chance(95) ? noise.Next(6) : 120).Select(_ => Noise.Quoted(noise.Room())))}]"
                ),
                ("endpoint", noise.Chance(70) ? Noise.Quoted(noise.Odd("1234")) : noise.Number()),
                ("text", noise.Json())
            ),
        };

    private static string Batch(Noise noise)
    {
        var items = Enumerable
            .Range(0, noise.Chance(95) ? noise.Next(8) : 95 + noise.Next(10))
            .Select(_ =>
                noise.Members(
                    ("event", Noise.Quoted(noise.Event())),
                    ("data", Push(noise)),
                    ("id", Noise.Quoted(noise.Id()))
                )
            );
        return $"[{string.Join(',', items)}]";
    }

    private static (string Method, string Target, string Body) Register(Noise noise) =>
        noise.Next(5) switch
        {
            0 => ("DELETE", $"/register/{noise.Escaped(noise.Event())}", ""),
            1 => ("GET", "/register", ""),
            _ => (
                "POST",
                "/register",
                noise.Members(
                    ("event", Noise.Quoted(noise.Event())),
                    ("default_room", noise.Chance(80) ? Noise.Quoted(noise.Room()) : noise.Json())
                )
            ),
        };

    private static (string Method, string Target, string Body) Backend(Noise noise)
    {
        var bkid = noise.Escaped(noise.Bkid());
        return noise.Next(9) switch
        {
            < 3 => (
                "POST",
                "/register/backend",
                noise.Members(
                    ("name", Noise.Quoted(noise.Chance(80) ? "billing" : noise.Odd("billing"))),
                    ("bkid", Noise.Quoted(noise.Bkid()))
                )
            ),
            3 => ("DELETE", $"/register/backend/{bkid}", ""),
            4 => ("GET", $"/backend/{bkid}/uplink", ""),
            5 => (
                "GET",
                $"/backend/{bkid}/uplink/stored?after={noise.Escaped(noise.Chance(50) ? noise.Position() : noise.Id())}&max={noise.Escaped(noise.Number())}",
                ""
            ),
            _ => (
                "POST",
                $"/backend/{bkid}/messages",
                noise.Members(
                    ("id", noise.Chance(80) ? Noise.Quoted(noise.Id()) : noise.Json()),
                    ("to", Noise.Quoted(noise.Chance(80) ? "user-42" : noise.Odd("user-42"))),
                    ("data", noise.Json())
                )
            ),
        };
    }

    private static string Events(Noise noise)
    {
        var query = new StringBuilder("/events");
        for (var i = 0; i < (noise.Chance(97) ? noise.Next(4) : 101); i++)
        {
            query
                .Append(i == 0 ? '?' : '&')
                .Append(noise.Chance(95) ? "room" : noise.Odd("room"))
                .Append('=')
                .Append(noise.Escaped(noise.Room()));
        }

        if (noise.Chance(20))
        {
            query.Append(
                CultureInfo.InvariantCulture,
                $"{(query.Length == 7 ? '?' : '&')}service={noise.Escaped(noise.Bkid())}&user={noise.Escaped(noise.Chance(80) ? "user-42" : noise.Odd("u"))}"
            );
        }

        return query.ToString();
    }

    private static (string Method, string Target, string Body) Any(Noise noise)
    {
        string[] targets =
        [
            $"/_notify/{noise.Escaped(noise.Event())}",
            "/_notify",
            "/register",
            $"/rooms/{noise.Escaped(noise.Room())}",
            "/healthz",
            "/readyz?strict=1",
            "/metrics",
            "/openapi.yaml",
            "/asyncapi.yaml",
            "/swagger",
            "/swagger/index.html",
            "/swagger/../../etc/passwd",
            "/",
            "/ws",
            "/ws/",
            "/nowhere",
            "*",
            "http://localhost/_notify/call",
            "http://[::1",
            "localhost:80",
            $"/{noise.Escaped(noise.Bytes(30))}",
            $"/rooms/{noise.Odd("a:1")}",
            "/%2e%2e/%2e%2e",
            "///",
            $"/_notify/{new string('x', noise.Next(9_000))}",
            $"/?{noise.Bytes(20)}",
        ];
        return (
            noise.Chance(70) ? noise.Pick("GET", "POST") : noise.Pick(Methods),
            noise.Pick(targets),
            noise.Chance(50) ? noise.Json() : noise.Bytes(noise.Next(100))
        );
    }

    /// <summary>The body with what says how long it is, or how long it isn't.</summary>
    private static (string[] Headers, string Body) Framed(Noise noise, string body, bool hasBody)
    {
        if (!hasBody)
        {
            return ([], "");
        }

        string[] encoding = [];
        if (noise.Chance(12))
        {
            var format = noise.Pick("gzip", "deflate", "br");
            encoding =
            [
                $"Content-Encoding: {noise.Pick(format, format, format, "identity", "zstd", "gzip, gzip", "gzip")}",
            ];
            body = noise.MaybeMutated(noise.Chance(97) ? noise.Compressed(body, format) : Noise.Bomb(format), 35);
        }

        return noise.Next(20) switch
        {
            0 => ([.. encoding, $"Content-Length: {Math.Max(0, body.Length + noise.Next(21) - 10)}"], body),
            1 => ([.. encoding, $"Content-Length: {noise.Number()}"], body),
            2 => (encoding, body),
            3 => ([.. encoding, $"Content-Length: {body.Length}", "Transfer-Encoding: chunked"], Chunked(noise, body)),
            4 => ([.. encoding, $"Content-Length: {body.Length}", $"Content-Length: {noise.Number()}"], body),
            < 9 => ([.. encoding, "Transfer-Encoding: chunked"], Chunked(noise, body)),
            _ => ([.. encoding, $"Content-Length: {body.Length}"], body),
        };
    }

    private static string Chunked(Noise noise, string body)
    {
        var chunks = new StringBuilder();
        while (body.Length > 0)
        {
            var length = Math.Min(body.Length, 1 + noise.Next(Math.Max(1, body.Length)));
            var size = noise.Chance(97)
                ? $"{length:x}"
                : noise.Pick(
                    "-1",
                    "fffffffffffffffff",
                    "7fffffff",
                    "g",
                    "",
                    "0x5",
                    $"{length + 1:x}",
                    $"{length:x};a=\"b",
                    $"{length:x} ",
                    "00000000000000005"
                );
            chunks
                .Append(size)
                .Append("\r\n")
                .Append(body.AsSpan(0, length))
                .Append(noise.Chance(97) ? "\r\n" : noise.Pick("", "\n", "x"));
            body = body[length..];
        }

        return chunks
            .Append(
                noise.Chance(93)
                    ? "0\r\n\r\n"
                    : noise.Pick("", "0\r\n", "0\r\nTrailer: x\r\n\r\n", "0\r\nbad\r\n\r\n", "0;\r\n\r\n")
            )
            .ToString();
    }
}
