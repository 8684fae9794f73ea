using System.IO.Compression;
using System.Text;

namespace Dmb.Bench.Fuzz;

/// <summary>Handshakes of /ws, and the frames that follow.</summary>
internal static class SocketCases
{
    private const int Continuation = 0,
        Text = 1,
        Close = 8,
        Ping = 9,
        Pong = 10;

    private static readonly string[] Values =
    [
        "Connection: Upgrade",
        "Connection: keep-alive, Upgrade",
        "Connection: close",
        "Upgrade: websocket",
        "Upgrade: WebSocket",
        "Upgrade: h2c",
        "Upgrade: websocket, h2c",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Version: 13, 8",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Key: short",
        "Sec-WebSocket-Key:",
        "Sec-WebSocket-Protocol: dmb.v1",
        "Sec-WebSocket-Protocol: dmb.v1, bearer.x",
        "Sec-WebSocket-Protocol: ,,",
        "Sec-WebSocket-Protocol: \u00e4",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"\"; x, permessage-deflate; "
            + "client_max_window_bits",
        "Sec-WebSocket-Extensions: ;;=,",
        "Origin: https://desk.example.com",
        "Origin: http://evil.example",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
    ];

    public static string GoodHandshake(Noise noise, bool deflates)
    {
        var path = noise.Pick("/ws", "/ws", "/ws", "/ws?trace=1", "//ws");
        var extension = noise.Pick(
            "",
            "",
            "; client_max_window_bits",
            "; server_no_context_takeover",
            "; client_no_context_takeover",
            "; server_max_window_bits=10",
            "; client_max_window_bits=9"
        );
        return $"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "
            + "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            + $"{(deflates ? $"Sec-WebSocket-Extensions: permessage-deflate{extension}\r\n" : "")}\r\n";
    }

    public static string Handshake(Noise noise)
    {
        if (noise.Chance(50))
        {
            return noise.Mutated(GoodHandshake(noise, noise.Chance(30)));
        }

        List<string> headers = ["Host: localhost", Values[0], Values[3], Values[7], Values[10]];
        for (var more = 1 + noise.Next(4); more > 0; more--)
        {
            if (noise.Chance(60))
            {
                headers.Add(noise.Pick(Values));
            }
            else
            {
                headers.RemoveAt(noise.Next(headers.Count));
                headers.Insert(0, noise.Pick(Values));
            }
        }

        var line =
            $"{noise.Pick("GET", "GET", "GET", "POST", "CONNECT")} {noise.Pick("/ws", "/ws", "/ws?trace=1&trace=2", "/WS", "/ws/x", "/ws?%")} {noise.Pick("HTTP/1.1", "HTTP/1.1", "HTTP/1.0")}";
        return $"{line}\r\n{string.Join("\r\n", headers)}\r\n\r\n";
    }

    public static string Frames(Noise noise, bool deflates) => Frames(noise, deflates, Event);

    /// <summary>Frames with mistakes, among them text frames with such texts.</summary>
    public static string Frames(Noise noise, bool deflates, Func<Noise, string> text)
    {
        var frames = new StringBuilder();
        for (var more = 1 + noise.Next(noise.Chance(95) ? 8 : 200); more > 0; more--)
        {
            Add(noise, frames, deflates, text);
        }

        return noise.MaybeMutated(frames.ToString(), 8);
    }

    /// <summary>A text frame without mistakes.</summary>
    public static string TextFrame(Noise noise, string text) => Frame(noise, Text, text);

    private static void Add(Noise noise, StringBuilder frames, bool deflates, Func<Noise, string> make)
    {
        switch (noise.Next(25))
        {
            case 0:
                frames.Append(
                    Frame(
                        noise,
                        noise.Pick("\u0009", "\u000a")[0],
                        noise.Bytes(noise.Chance(90) ? noise.Next(126) : noise.Next(400))
                    )
                );
                break;
            case 1:
                frames.Append(
                    Frame(
                        noise,
                        Close,
                        noise.Pick(
                            "",
                            "\u0003\u00e8",
                            "\u0003\u00e8bye",
                            "\u0003",
                            "\u000f\u00a0",
                            "\0\0",
                            "\u0003\u00ed",
                            "\u0003\u00f7",
                            "\u0013\u0088\u00ff\u00fe",
                            "\u00ff\u00ff",
                            "\u0003\u00e8" + new string('x', 123),
                            "\u0003\u00e8" + new string('x', 124)
                        )
                    )
                );
                break;
            case 2:
                frames.Append(
                    Frame(
                        noise,
                        noise.Next(16),
                        noise.Bytes(noise.Next(300)),
                        isFinal: noise.Chance(50),
                        reserved: noise.Next(8)
                    )
                );
                break;
            case 3:
                frames.Append(noise.Mutated(Frame(noise, Text, make(noise))));
                break;
            case 4:
                frames.Append(Head(noise));
                break;
            case < 9:
                AddFragments(noise, frames, noise.MaybeMutated(make(noise), 10), deflates);
                break;
            default:
                var text = noise.MaybeMutated(make(noise), 12);
                frames.Append(
                    deflates && noise.Chance(75)
                        ? Frame(noise, Text, Deflated(noise, text), reserved: 4)
                        : Frame(noise, Text, text)
                );
                break;
        }
    }

    private static void AddFragments(Noise noise, StringBuilder frames, string text, bool deflates)
    {
        var isDeflated = deflates && noise.Chance(75);
        text = isDeflated ? Deflated(noise, text) : text;
        var opcode = Text;
        for (var more = noise.Next(5); more >= 0; more--)
        {
            var length = more == 0 ? text.Length : noise.Next(text.Length + 1);
            frames.Append(
                Frame(noise, opcode, text[..length], isFinal: more == 0, reserved: opcode == Text && isDeflated ? 4 : 0)
            );
            text = text[length..];
            opcode = noise.Chance(97) ? Continuation : noise.Next(16);
            if (noise.Chance(20))
            {
                frames.Append(Frame(noise, noise.Chance(50) ? Ping : Pong, noise.Bytes(noise.Next(20))));
            }
        }
    }

    /// <summary>
    /// A frame that ends, or doesn't, before its payload: of a length that nobody has, or written as it must not be.
    /// </summary>
    private static string Head(Noise noise)
    {
        var length = noise.Pick(
            "\u00fe\0\u0005",
            "\u00fe\u00ff\u00ff",
            "\u00ff\0\0\0\0\0\0\0\u0005",
            "\u00ff\u007f\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff",
            "\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff",
            "\u00ff\u0080\0\0\0\0\0\0\0",
            "\u00ff\0\0\0\0\u0080\0\0\0",
            "\u00ff\0\0\0\0\0\u0004\0\u0001",
            "\u007e\0\u0005",
            "\u0005"
        );
        return $"{(char)(0x80 | noise.Next(3))}{length}{noise.Bytes(noise.Next(20))}";
    }

    private static string Frame(Noise noise, int opcode, string payload, bool isFinal = true, int reserved = 0)
    {
        var isMasked = noise.Chance(99);
        var frame = new StringBuilder().Append((char)((isFinal ? 0x80 : 0) | (reserved << 4) | opcode));
        var mask = isMasked ? 0x80 : 0;
        if (payload.Length < 126)
        {
            frame.Append((char)(mask | payload.Length));
        }
        else if (payload.Length < 65_536)
        {
            frame.Append((char)(mask | 126)).Append((char)(payload.Length >> 8)).Append((char)(payload.Length & 255));
        }
        else
        {
            frame.Append((char)(mask | 127)).Append("\0\0\0\0").Append((char)(payload.Length >> 24));
            frame
                .Append((char)((payload.Length >> 16) & 255))
                .Append((char)((payload.Length >> 8) & 255))
                .Append((char)(payload.Length & 255));
        }

        if (!isMasked)
        {
            return frame.Append(payload).ToString();
        }

        var key = noise.Chance(50) ? "\0\0\0\0" : noise.Bytes(4);
        frame.Append(key);
        for (var i = 0; i < payload.Length; i++)
        {
            frame.Append((char)(payload[i] ^ key[i & 3]));
        }

        return frame.ToString();
    }

    /// <summary>As RFC 7692 §7.2.1 has it, or nearly so.</summary>
    private static string Deflated(Noise noise, string text)
    {
        var deflated =
            noise.Next(300) > 0
                ? Noise.Compressed(text, stream => new DeflateStream(stream, CompressionLevel.Fastest))
                : Noise.Bomb("raw");
        return noise.MaybeMutated(noise.Chance(80) ? deflated + "\0" : deflated, 20);
    }

    private static string Event(Noise noise)
    {
        var (name, data) = Message(noise);
        var ack =
            noise.Chance(70) ? $"{noise.Next(100)}"
            : noise.Chance(50) ? Noise.Quoted(noise.Odd("a1"))
            : noise.Json(1);
        return noise.Members(("event", Noise.Quoted(name)), ("data", data), ("ack", ack));
    }

    /// <summary>Every event that the broker knows, with data of its shape, or of another.</summary>
    public static (string Name, string Data) Message(Noise noise)
    {
        var (name, data) = noise.Next(16) switch
        {
            0 or 1 => (noise.Pick("subscribe", "join"), Rooms(noise)),
            2 => (noise.Pick("unsubscribe", "leave"), Rooms(noise)),
            3 => (
                "configure",
                noise.Members(
                    ("calls", noise.Pick("true", "false")),
                    ("traces", noise.Pick("true", "false", "1")),
                    ("nobus", "true")
                )
            ),
            4 => (
                "register",
                noise.Members(("event", Noise.Quoted(noise.Event())), ("default_room", Noise.Quoted(noise.Room())))
            ),
            5 => (noise.Pick("ping", "shout", "notify_users", "auth"), noise.Json()),
            6 or 7 => (
                "dmb:connect",
                noise.Members(
                    ("service", Noise.Quoted(noise.Bkid())),
                    ("user", Noise.Quoted(noise.Chance(85) ? "user-42" : noise.Odd("u"))),
                    ("since", noise.Chance(50) ? "null" : noise.Json(2))
                )
            ),
            8 => ("dmb:message", noise.Members(("service", Noise.Quoted(noise.Bkid())), ("data", noise.Json()))),
            9 => (
                "dmb:reconnect",
                noise.Members(("name", Noise.Quoted("billing")), ("bkid", Noise.Quoted(noise.Bkid())))
            ),
            10 => ("dmb:broadcast", noise.Members(("data", noise.Json()), ("id", Noise.Quoted(noise.Id())))),
            11 => ("dmb:direct", noise.Members(("user", Noise.Quoted("user-42")), ("data", noise.Json()))),
            12 => (
                "dmb:disconnect",
                noise.Chance(50) ? "null" : noise.Members(("service", Noise.Quoted(noise.Bkid())))
            ),
            _ => (
                noise.Event(),
                noise.Members(("_in", Noise.Quoted(noise.Room())), ("endpoint", noise.Json(1)), ("x", noise.Json()))
            ),
        };
        return (name, noise.Chance(85) ? data : noise.Json());
    }

    private static string Rooms(Noise noise)
    {
        return noise.Next(4) switch
        {
            0 =>
                $"[{string.Join(',', Enumerable.Range(0, noise.Chance(95) ? noise.Next(6) : 90 + noise.Next(20)).Select(_ => Room()))}]",
            _ => Room(),
        };

        string Room() =>
            noise.Chance(60)
                ? Noise.Quoted(noise.Room())
                : noise.Members(
                    ("room", Noise.Quoted(noise.Room())),
                    ("since", noise.Chance(85) ? Noise.Quoted(noise.Position()) : noise.Json(1))
                );
    }
}
