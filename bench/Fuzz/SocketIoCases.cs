using System.Text;

namespace Dmb.Bench.Fuzz;

/// <summary>What clients of Socket.IO send: packets on a socket, payloads of polling, and the upgrade.</summary>
internal static class SocketIoCases
{
    /// <summary>Stands in requests where the sid goes that the broker has answered.</summary>
    public const string Sid = "{sid}";

    private const string SeparatorOf4 = "\u001e";

    /// <summary>Opens a session on a socket.</summary>
    public static string Socket(Noise noise) => Upgrade($"EIO={Version(noise)}&transport=websocket{More(noise)}");

    /// <summary>Frames with packets; the first one nearly always connects.</summary>
    public static string Frames(Noise noise)
    {
        var connect = noise.Chance(90) ? SocketCases.TextFrame(noise, noise.MaybeMutated(Connect(noise), 5)) : "";
        return connect + SocketCases.Frames(noise, deflates: false, Packet);
    }

    /// <summary>Opens a session by polling; always answered with an open packet.</summary>
    public static string Polling(Noise noise) => Request("GET", $"EIO={Version(noise)}&transport=polling{More(noise)}");

    /// <summary>The requests of its client, on one connection.</summary>
    public static string Polls(Noise noise)
    {
        var query = $"EIO={Version(noise)}&transport=polling&sid={Sid}";
        var requests = new StringBuilder(noise.Chance(85) ? Request("POST", query, Connect(noise)) : "");
        for (var more = noise.Next(6); more > 0; more--)
        {
            requests.Append(
                noise.Next(10) switch
                {
                    0 => Request("GET", query),
                    1 => Request(noise.Pick("OPTIONS", "PUT", "HEAD", "DELETE", "GET"), noise.Mutated(query)),
                    2 => Request(
                        "POST",
                        query,
                        noise.MaybeMutated(Binary(noise), 30),
                        "Content-Type: application/octet-stream\r\n"
                    ),
                    _ => Request(
                        "POST",
                        query,
                        noise.MaybeMutated(Payload(noise), 20),
                        noise.Pick("", "Content-Type: text/plain;charset=UTF-8\r\n", "Origin: http://localhost\r\n")
                    ),
                }
            );
        }

        requests.Append(
            noise.Next(4) switch
            {
                0 => Upgrade($"EIO={Version(noise)}&transport=websocket&sid={Sid}") + Probe(noise),
                1 => Request("POST", query, noise.Pick("1", "41", "1:1")),
                _ => "",
            }
        );
        return requests.ToString();
    }

    private static string Probe(Noise noise) =>
        SocketCases.TextFrame(noise, noise.Chance(90) ? "2probe" : Packet(noise))
        + (noise.Chance(80) ? SocketCases.TextFrame(noise, "5") : "")
        + SocketCases.Frames(noise, deflates: false, Packet);

    private static string Payload(Noise noise)
    {
        var packets = Enumerable
            .Range(0, noise.Chance(90) ? 1 + noise.Next(4) : noise.Next(200))
            .Select(_ => Packet(noise));
        return noise.Chance(50)
            ? string.Join(SeparatorOf4, packets)
            : string.Concat(packets.Select(packet => $"{Length(noise, packet)}:{packet}"));
    }

    private static string Length(Noise noise, string packet) =>
        noise.Chance(85)
            ? $"{packet.Length}"
            : noise.Pick(
                "",
                "0",
                "-1",
                "1",
                $"{packet.Length + 1}",
                "99999999999999999999",
                "2147483648",
                "007",
                "1e3",
                "x"
            );

    /// <summary>Engine.IO 3 in octets: 0 or 1, the digits of the length as bytes, 0xFF, the data.</summary>
    private static string Binary(Noise noise)
    {
        var payload = new StringBuilder();
        for (var more = 1 + noise.Next(4); more > 0; more--)
        {
            var packet = noise.Chance(70) ? Packet(noise) : "\u0004" + noise.Bytes(noise.Next(40));
            payload.Append(noise.Pick("\0", "\0", "\u0001", "\u0002"));
            foreach (var digit in Length(noise, packet))
            {
                payload.Append((char)(digit is >= '0' and <= '9' ? digit - '0' : digit));
            }

            payload.Append('\u00ff').Append(packet);
        }

        return payload.ToString();
    }

    /// <summary>One packet: every type, with what belongs to it, or something else.</summary>
    private static string Packet(Noise noise) =>
        noise.Next(16) switch
        {
            0 => noise.Pick(
                "",
                "1",
                "2",
                "3",
                "5",
                "6",
                "7",
                "4",
                "49",
                "2probe",
                "3probe",
                "2\u00ff",
                "b",
                "bAAAA",
                "b!"
            ),
            1 => noise.Chance(50) ? Connect(noise) : $"40/{noise.Odd("chat")},{noise.Json(2)}",
            2 => noise.Pick("41", "41/chat,", "44", "44{\"message\":\"x\"}", "44/,\"x\""),
            3 => $"4{noise.Pick("5", "6")}{noise.Pick("1", "2", "10", "11", "0", "-1", "99999999999", "")}-{Id(noise)}"
                + $"[{Noise.Quoted(noise.Event())},{{\"_placeholder\":true,\"num\":{noise.Number()}}}]",
            4 => $"b{Convert.ToBase64String(Noise.ToBytes(noise.Bytes(noise.Next(20))))}",
            5 => $"43{Id(noise)}[{noise.Json(2)}]",
            6 => $"42{Id(noise)}{noise.Json()}",
            _ => Event(noise),
        };

    private static string Event(Noise noise)
    {
        var (name, data) = SocketCases.Message(noise);
        name = noise.Chance(95)
            ? name
            : noise.Pick("connect", "disconnect", "connect_error", "newListener", "", "message");
        var arguments = noise.Chance(5) ? "" : $",{noise.Spaces()}{data}";
        return $"42{noise.Pick("", "", "", "/,", "/chat,")}{Id(noise)}[{Noise.Quoted(name)}{arguments}{(noise.Chance(10) ? "," + noise.Json(2) : "")}]";
    }

    private static string Id(Noise noise) =>
        noise.Chance(50)
            ? ""
            : noise.Pick($"{noise.Next(100)}", "0", "007", "9999999999999999999", new string('1', 40));

    private static string Connect(Noise noise) =>
        "40"
        + (
            noise.Chance(40)
                ? ""
                : noise.Members(
                    ("token", noise.Chance(50) ? Noise.Quoted("x") : noise.Json(1)),
                    ("recovery", noise.Pick("true", "false", "1")),
                    ("pid", Noise.Quoted(noise.Odd("abc"))),
                    (
                        "offset",
                        Noise.Quoted(
                            $"{noise.Pick("1?", "1?", "2?", "1", "")}public=&{noise.Room()}={noise.Position()}"
                        )
                    )
                )
        );

    private static string Version(Noise noise) => noise.Pick("4", "4", "4", "3", "3", "2");

    private static string More(Noise noise) => noise.Pick("", "", "&recovery=1", "&t=Pxyz", "&b64=1");

    private static string Upgrade(string query) =>
        Request(
            "GET",
            query,
            headers: "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        );

    private static string Request(string method, string query, string? body = null, string headers = "") =>
        $"{method} /socket.io/?{query} HTTP/1.1\r\nHost: localhost\r\n{headers}"
        + (body is null ? "\r\n" : $"Content-Length: {body.Length}\r\n\r\n{body}");
}
