using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Tests.Deploy;

/// <summary>A telephone that speaks SIP over UDP, as far as a test needs it.</summary>
/// <param name="user">The user part of its address.</param>
/// <param name="server">The port of its server.</param>
/// <param name="displayName">The name in its From, quoted as SIP wants it, with a space behind.</param>
/// <param name="address">Its own address.</param>
internal sealed class SipPhone(string user, int server, string displayName = "", string address = "127.0.0.1")
    : IDisposable
{
    private readonly UdpClient _udp = Connected(address, server);

    private int Port => ((IPEndPoint)_udp.Client.LocalEndPoint!).Port;

    /// <summary>A request outside of a dialog, with the same branch for the same method and number.</summary>
    public void Send(string method, string to, string call, int number, params string[] headers) =>
        Send(method, $"sip:{to}@127.0.0.1", to, call, number, tag: "", headers);

    /// <summary>Publishes a state of its own (RFC 3903).</summary>
    public void Publish(string state, string call) =>
        Send(
            "PUBLISH",
            $"sip:{user}@127.0.0.1",
            user,
            call,
            1,
            tag: "",
            ["Event: presence", "Expires: 600", "Content-Type: application/pidf+xml"],
            state
        );

    /// <summary>Refreshes or ends the subscription that this answer began.</summary>
    public void SubscribeAgain(string answer, string to, string call, int number, int expires) =>
        Send(
            "SUBSCRIBE",
            Headers(answer, "Contact")[0]["Contact: <".Length..^1],
            to,
            call,
            number,
            Headers(answer, "To")[0][Headers(answer, "To")[0].IndexOf(";tag=", StringComparison.Ordinal)..],
            ["Event: presence", $"Expires: {expires}"]
        );

    /// <summary>Registers its address and reads the answer.</summary>
    public async Task RegisterAsync(int expires = 60)
    {
        Send("REGISTER", user, $"register {expires}", 1, $"Expires: {expires}");
        Assert.StartsWith("SIP/2.0 200", await ReceiveAsync(), StringComparison.Ordinal);
    }

    /// <summary>A request within the dialog of this answer.</summary>
    public void SendWithin(string answer, string method, string to, string call, int number) =>
        Send(
            method,
            Headers(answer, "Contact")[0]["Contact: <".Length..^1],
            to,
            call,
            number,
            ";tag=theirs",
            [
                .. Headers(answer, "Record-Route")
                    .Select(line => line.Replace("Record-Route", "Route", StringComparison.Ordinal)),
            ]
        );

    /// <summary>Answers a request that came.</summary>
    public void Answer(string request, string status)
    {
        var to = Headers(request, "To")[0];
        Write([
            $"SIP/2.0 {status}",
            .. Headers(request, "Via"),
            .. Headers(request, "Record-Route"),
            .. Headers(request, "From"),
            to.Contains(";tag=", StringComparison.Ordinal) ? to : to + ";tag=theirs",
            .. Headers(request, "Call-ID"),
            .. Headers(request, "CSeq"),
            $"Contact: <sip:{user}@{address}:{Port}>",
        ]);
    }

    /// <summary>The next message that is not only "trying".</summary>
    public async Task<string> ReceiveAsync()
    {
        while (true)
        {
            using var patience = new CancellationTokenSource(Node.Patience);
            var text = Encoding.UTF8.GetString((await _udp.ReceiveAsync(patience.Token)).Buffer);
            if (!text.StartsWith("SIP/2.0 100", StringComparison.Ordinal))
            {
                return text;
            }
        }
    }

    /// <summary>Asks its server until it listens and answers.</summary>
    public async Task IsAnsweredAsync()
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (true)
        {
            try
            {
                Send("OPTIONS", user, "is it there", 1);
                await ReceiveAsync();
                return;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
            {
                patience.Token.ThrowIfCancellationRequested();
            }
        }
    }

    public void Dispose() => _udp.Dispose();

    private static UdpClient Connected(string address, int server)
    {
        var udp = new UdpClient(new IPEndPoint(IPAddress.Parse(address), 0));
        udp.Connect(IPAddress.Loopback, server);
        return udp;
    }

    private static string[] Headers(string message, string name) =>
        [.. message.Split("\r\n").Where(line => line.StartsWith(name + ":", StringComparison.Ordinal))];

    private void Send(
        string method,
        string uri,
        string to,
        string call,
        int number,
        string tag,
        string[] headers,
        string body = ""
    ) =>
        Write(
            [
                $"{method} {uri} SIP/2.0",
                $"Via: SIP/2.0/UDP {address}:{Port};branch=z9hG4bK{method}{call.GetHashCode(StringComparison.Ordinal)}{number}",
                "Max-Forwards: 70",
                $"From: {displayName}<sip:{user}@127.0.0.1>;tag=ours",
                $"To: <sip:{to}@127.0.0.1>{tag}",
                $"Call-ID: {call.Replace(' ', '-')}-{Port}",
                $"CSeq: {number} {method}",
                $"Contact: <sip:{user}@{address}:{Port}>",
                .. headers,
            ],
            body
        );

    private void Write(string[] lines, string body = "") =>
        _udp.Send(
            Encoding.UTF8.GetBytes(
                string.Join("\r\n", [.. lines, $"Content-Length: {Encoding.UTF8.GetByteCount(body)}", "", body])
            )
        );
}
