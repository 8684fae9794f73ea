using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Dmb.Tests.Access;

/// <summary>DMB_AUTHORIZE_URL: logins and rooms that a URL is asked about.</summary>
public sealed class AuthorizeUrlTests
{
    private const string Denied = "denied";
    private const string Broken = "broken";

    [Fact]
    public async Task A_cookie_is_a_user_with_rooms_for_as_long_as_the_answer_says()
    {
        await using var login = await StartLoginAsync();
        await using var node = await StartAsync(login.Url);
        await using (var ann = await node.ConnectAsync(("Cookie", "sid=ann")))
        {
            Assert.Equal("""{"type":"connect","cookie":"sid=ann"}""", (await login.NextAsync()).Body);
            Assert.Contains("\"ok\":true", await ann.AckAsync("subscribe", "\"endpoint:1\""), StringComparison.Ordinal);
            Assert.Contains("\"ok\":true", await ann.AckAsync("subscribe", "\"team:red\""), StringComparison.Ordinal);
            Assert.Equal("""{"type":"subscribe","user":"ann","room":"team:red"}""", (await login.NextAsync()).Body);
            Assert.Contains(
                "forbidden_room",
                await ann.AckAsync("subscribe", "\"team:blue\""),
                StringComparison.Ordinal
            );
            Assert.Equal("""{"type":"subscribe","user":"ann","room":"team:blue"}""", (await login.NextAsync()).Body);
        }

        // Within the time that the answers said nothing is asked again; after it, it is.
        await using (var again = await node.ConnectAsync(("Cookie", "sid=ann")))
        {
            Assert.Contains("\"ok\":true", await again.AckAsync("subscribe", "\"team:red\""), StringComparison.Ordinal);
        }

        node.Time.Advance(TimeSpan.FromSeconds(61));
        await using var later = await node.ConnectAsync(("Cookie", "sid=ann"));
        Assert.Equal("""{"type":"connect","cookie":"sid=ann"}""", (await login.NextAsync()).Body);
    }

    [Theory]
    [InlineData("Authorization", "Bearer opaque-token", """{"type":"connect","token":"opaque-token"}""")]
    [InlineData("Cookie", "sid=x", """{"type":"connect","cookie":"sid=x"}""")]
    public async Task A_request_over_HTTP_is_asked_about_too(string name, string value, string question)
    {
        await using var login = await StartLoginAsync();
        await using var node = await StartAsync(login.Url);
        Assert.Equal(HttpStatusCode.OK, await GetAsync(node, "/rooms/team:red", name, value));
        Assert.Equal(question, (await login.NextAsync()).Body);
        Assert.Equal(HttpStatusCode.Forbidden, await GetAsync(node, "/rooms/team:blue", name, value));
        Assert.Equal(HttpStatusCode.Unauthorized, await GetAsync(node, "/rooms/support", "X-None", value));
    }

    [Theory]
    [InlineData(Denied)]
    [InlineData(Broken)]
    [InlineData("no-user")]
    [InlineData("no-json")]
    [InlineData("moved")]
    public async Task Whom_the_URL_does_not_know_and_whom_it_does_not_answer_is_refused(string sid)
    {
        await using var login = await StartLoginAsync();
        await using var node = await StartAsync(login.Url);
        Assert.Equal(HttpStatusCode.Unauthorized, await GetAsync(node, "/rooms/everyone", "Cookie", $"sid={sid}"));
    }

    [Fact]
    public async Task A_URL_that_does_not_answer_within_a_second_refuses()
    {
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var login = await Receiver.StartAsync(
            async (context, _) =>
            {
                asked.SetResult();
                var gone = new TaskCompletionSource();
                await using var aborted = context.RequestAborted.Register(gone.SetResult);
                await gone.Task.WaitAsync(Node.Patience);
            }
        );
        await using var node = await StartAsync(login.Url);
        var answer = GetAsync(node, "/rooms/everyone", "Cookie", "sid=ann");
        await asked.Task.WaitAsync(Node.Patience);
        node.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(HttpStatusCode.Unauthorized, await answer);
    }

    private static Task<Node> StartAsync(Uri url) => Node.StartAsync(("AuthorizeUrl", $"{url}"));

    private static Task<Receiver> StartLoginAsync() =>
        Receiver.StartAsync(
            async (context, _) =>
            {
                context.Request.Body.Seek(0, SeekOrigin.Begin);
                var question = (await JsonDocument.ParseAsync(context.Request.Body)).RootElement;
                context.Response.Headers.CacheControl = "max-age=60";
                if (question.GetProperty("type").GetString() == "subscribe")
                {
                    context.Response.StatusCode = question.GetProperty("room").GetString() == "team:red" ? 204 : 403;
                    return;
                }

                context.Response.StatusCode = 200;
                switch (question.TryGetProperty("cookie", out var cookie) ? cookie.GetString() : "")
                {
                    case "sid=" + Denied:
                        context.Response.StatusCode = 401;
                        break;
                    case "sid=" + Broken:
                        context.Response.StatusCode = 500;
                        break;
                    case "sid=no-user":
                        await context.Response.WriteAsync("""{"roles":["a:1"],"admin":true}""");
                        break;
                    case "sid=no-json":
                        await context.Response.WriteAsync("ann");
                        break;
                    case "sid=moved":
                        context.Response.StatusCode = 302;
                        context.Response.Headers.Location = "/elsewhere";
                        break;
                    default:
                        await context.Response.WriteAsync("""{"user":"ann","roles":["endpoint:1"]}""");
                        break;
                }
            }
        );

    private static async Task<HttpStatusCode> GetAsync(Node node, string path, string name, string value)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(node.Url, path));
        request.Headers.TryAddWithoutValidation(name, value);
        using var http = new HttpClient(new SocketsHttpHandler { UseCookies = false }) { Timeout = Node.Patience };
        using var response = await http.SendAsync(request);
        return response.StatusCode;
    }
}
