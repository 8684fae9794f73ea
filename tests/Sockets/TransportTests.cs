using System.IO.Pipelines;
using System.Net;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Sockets;

/// <summary>
/// How a session's bytes leave: past the server on its own socket where that may be, through the server elsewhere.
/// </summary>
public sealed class TransportTests
{
    private const int DataBytes = 100_000;
    private const int HandshakeBytesMax = 1_000;

    [Fact]
    public async Task On_a_plain_connection_frames_leave_by_the_socket_and_past_the_server()
    {
        await using var node = new CountingNode(certificate: null);
        await using var client = await TestClient.ConnectAsync(new Uri($"ws://127.0.0.1:{node.Port}/ws"));
        await client.AckAsync("subscribe", "\"calls\"");
        await client.ReadAllAsync();
        await client.SendAsync(CallOf(DataBytes));
        Assert.Equal(DataBytes + 2, (await client.ReadDataAsync("call")).Length);
        await client.SendFrameAsync(Frame.Ping, [1, 2, 3]);
        Assert.Equal([1, 2, 3], (await client.ReadFrameAsync()).Payload);
        await client.SendFrameAsync(Frame.Close, [0x03, 0xe8]);
        Assert.Equal(1000, (await client.ReadCloseAsync()).Code);
        await client.ReadEndAsync();
        Assert.InRange(node.BytesThroughServer, 1, HandshakeBytesMax);
    }

    [Theory]
    [InlineData("1.1")]
    [InlineData("2.0")]
    public async Task Behind_TLS_the_same_frames_leave_through_the_server(string version)
    {
        using var certificate = SelfSigned();
        await using var node = new CountingNode(certificate);
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, shown, _, _) =>
            shown!.GetCertHashString() == certificate.GetCertHashString();
        using var invoker = new HttpMessageInvoker(handler);
        using var client = new ClientWebSocket();
        client.Options.HttpVersion = new Version(version);
        client.Options.HttpVersionPolicy = HttpVersionPolicy.RequestVersionExact;
        using var patience = new CancellationTokenSource(Node.Patience);
        await client.ConnectAsync(new Uri($"wss://localhost:{node.Port}/ws"), invoker, patience.Token);

        await TalkAsync(client, patience.Token);
        Assert.True(node.BytesThroughServer > DataBytes);
    }

    [Fact]
    public async Task Behind_a_reverse_proxy_the_same_frames_arrive()
    {
        await using var node = new CountingNode(certificate: null);
        await using var proxy = await ReverseProxy.StartAsync(node.Port);
        using var client = new ClientWebSocket();
        using var patience = new CancellationTokenSource(Node.Patience);
        await client.ConnectAsync(new Uri($"ws://127.0.0.1:{proxy.Port}/ws"), patience.Token);

        await TalkAsync(client, patience.Token);
        Assert.InRange(node.BytesThroughServer, 1, HandshakeBytesMax);
    }

    [Fact]
    public async Task A_client_that_reads_late_gets_all_that_its_socket_did_not_take_at_once_in_order()
    {
        const int Calls = 40;
        await using var node = await Node.StartAsync(("MaxPendingBytes", "67108864"));
        await using var late = await node.JoinAsync("calls");
        await using var client = await node.ConnectAsync();
        for (var i = 0; i < Calls; i++)
        {
            await client.SendAsync($$"""{"event":"call","data":"{{i:D2}}{{new string('x', DataBytes)}}"}""");
        }

        await client.AckAsync("no_such_event", "null");
        for (var i = 0; i < Calls; i++)
        {
            Assert.StartsWith($"\"{i:D2}x", await late.ReadDataAsync("call"), StringComparison.Ordinal);
        }
    }

    private static async Task TalkAsync(ClientWebSocket client, CancellationToken patience)
    {
        Assert.StartsWith("""{"event":"welcome",""", await ReceiveAsync(client, patience), StringComparison.Ordinal);
        await SendAsync(client, """{"event":"subscribe","data":"calls"}""", patience);
        Assert.Equal("""{"event":"joined","data":"calls"}""", await ReceiveAsync(client, patience));
        await SendAsync(client, CallOf(DataBytes), patience);
        Assert.StartsWith(
            $$"""{"event":"call","data":"{{new string('x', DataBytes)}}","id":""",
            await ReceiveAsync(client, patience),
            StringComparison.Ordinal
        );
        await client.CloseAsync(WebSocketCloseStatus.NormalClosure, null, patience);
        Assert.Equal(WebSocketCloseStatus.NormalClosure, client.CloseStatus);
    }

    private static string CallOf(int bytes) => $$"""{"event":"call","data":"{{new string('x', bytes)}}"}""";

    private static Task SendAsync(ClientWebSocket client, string text, CancellationToken patience) =>
        client.SendAsync(Encoding.UTF8.GetBytes(text), WebSocketMessageType.Text, endOfMessage: true, patience);

    private static async Task<string> ReceiveAsync(ClientWebSocket client, CancellationToken patience)
    {
        var buffer = new byte[DataBytes * 2];
        var length = 0;
        ValueWebSocketReceiveResult result;
        do
        {
            result = await client.ReceiveAsync(buffer.AsMemory(length), patience);
            length += result.Count;
        } while (!result.EndOfMessage);

        return Encoding.UTF8.GetString(buffer, 0, length);
    }

    private static X509Certificate2 SelfSigned()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        using var made = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(100));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), password: null);
    }

    /// <summary>A node that listens once more, and counts there what the server itself sends.</summary>
    private sealed class CountingNode : WebApplicationFactory<Program>
    {
        private readonly X509Certificate2? _certificate;
        private long _bytes;

        public CountingNode(X509Certificate2? certificate)
        {
            _certificate = certificate;
            UseKestrel();
            StartServer();
        }

        public long BytesThroughServer => Interlocked.Read(ref _bytes);

        public int Port =>
            new Uri(
                Services
                    .GetRequiredService<IServer>()
                    .Features.GetRequiredFeature<IServerAddressesFeature>()
                    .Addresses.Last()
            ).Port;

        protected override void ConfigureWebHost(IWebHostBuilder builder)
        {
            builder.UseSetting("Dmb:Port", "0").UseSetting("Dmb:RedisHost", "none");
            builder.ConfigureTestServices(services =>
                services.PostConfigure<KestrelServerOptions>(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
                    {
                        listen.Use(next =>
                            connection =>
                            {
                                connection.Transport = new Counted(connection.Transport, this);
                                return next(connection);
                            }
                        );
                        if (_certificate is not null)
                        {
                            listen.UseHttps(new HttpsConnectionAdapterOptions { ServerCertificate = _certificate });
                        }
                    }))
            );
        }

        private sealed class Counted(IDuplexPipe inner, CountingNode node) : PipeWriter, IDuplexPipe
        {
            public PipeReader Input => inner.Input;

            public PipeWriter Output => this;

            public override void Advance(int bytes)
            {
                Interlocked.Add(ref node._bytes, bytes);
                inner.Output.Advance(bytes);
            }

            public override void CancelPendingFlush() => inner.Output.CancelPendingFlush();

            public override void Complete(Exception? exception = null) => inner.Output.Complete(exception);

            public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) =>
                inner.Output.FlushAsync(cancellationToken);

            public override Memory<byte> GetMemory(int sizeHint = 0) => inner.Output.GetMemory(sizeHint);

            public override Span<byte> GetSpan(int sizeHint = 0) => inner.Output.GetSpan(sizeHint);

            public override bool CanGetUnflushedBytes => inner.Output.CanGetUnflushedBytes;

            public override long UnflushedBytes => inner.Output.UnflushedBytes;
        }
    }
}
