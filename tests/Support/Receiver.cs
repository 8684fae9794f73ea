using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Dmb.Tests.Support;

/// <summary>What a receiver was posted.</summary>
public sealed record Delivery(IHeaderDictionary Headers, string Body)
{
    /// <summary>The value of a header; empty where there is none.</summary>
    public string this[string name] => Headers[name].ToString();
}

/// <summary>
/// A receiver of webhooks on a real port. It agrees to every handshake, keeps what is posted in its order, and answers
/// as the test says.
/// </summary>
public sealed class Receiver : IAsyncDisposable
{
    private readonly Channel<Delivery> _deliveries = Channel.CreateUnbounded<Delivery>();
    private readonly WebApplication _app;

    private Receiver(WebApplication app) => _app = app;

    /// <summary>Its URL.</summary>
    public Uri Url { get; private set; } = null!;

    /// <param name="answer">Answers the n-th post, from 1; null: always 204.</param>
    /// <param name="certificate">For https; null for http.</param>
    public static async Task<Receiver> StartAsync(
        Func<HttpContext, int, Task>? answer = null,
        X509Certificate2? certificate = null
    )
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen =>
            {
                if (certificate is not null)
                {
                    listen.UseHttps(certificate);
                }
            }));
        var app = builder.Build();
        var receiver = new Receiver(app);
        var posts = 0;
        app.Run(async context =>
        {
            if (HttpMethods.IsOptions(context.Request.Method))
            {
                context.Response.Headers["WebHook-Allowed-Origin"] = context.Request.Headers["WebHook-Request-Origin"];
                return;
            }

            // So that the answer can read it too.
            context.Request.EnableBuffering();
            using var body = new StreamReader(context.Request.Body, leaveOpen: true);
            var text = await body.ReadToEndAsync();
            var post = Interlocked.Increment(ref posts);
            var headers = new HeaderDictionary(context.Request.Headers.ToDictionary());
            receiver._deliveries.Writer.TryWrite(new Delivery(headers, text));
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            await (answer?.Invoke(context, post) ?? Task.CompletedTask);
        });
        await app.StartAsync();
        var port = new Uri(
            app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()
        ).Port;
        receiver.Url = new Uri($"{(certificate is null ? "http" : "https")}://127.0.0.1:{port}/hook");
        return receiver;
    }

    /// <summary>The next post.</summary>
    public async Task<Delivery> NextAsync()
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        return await _deliveries.Reader.ReadAsync(patience.Token);
    }

    /// <summary>The bodies of the next posts.</summary>
    public async Task<string[]> NextAsync(int count)
    {
        var bodies = new string[count];
        for (var i = 0; i < count; i++)
        {
            bodies[i] = (await NextAsync()).Body;
        }

        return bodies;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(new CancellationToken(canceled: true));
        await _app.DisposeAsync();
    }
}
