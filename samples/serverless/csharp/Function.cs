// The desk as a function in ASP.NET: greets each user that connects, answers what a user says, sends to all what begins
// with "all: ". It holds no connection: the broker posts to it, and sends what it answers.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

if (Environment.GetEnvironmentVariable("WEBHOOK_SECRET") is not ['w', 'h', 's', 'e', 'c', '_', .. var secret])
{
    await Console.Error.WriteLineAsync("Set WEBHOOK_SECRET to the secret of the webhook: whsec_…");
    return 1;
}

var key = Convert.FromBase64String(secret);
var app = WebApplication.CreateBuilder(args).Build();

app.MapMethods("/", ["OPTIONS"], (HttpRequest request, HttpResponse response) =>
{
    response.Headers["WebHook-Allowed-Origin"] = request.Headers["WebHook-Request-Origin"];
});

app.MapPost("/", async (HttpRequest request) =>
{
    var body = await new StreamReader(request.Body).ReadToEndAsync();
    var (id, time) = (request.Headers["webhook-id"], request.Headers["webhook-timestamp"]);
    var hash = HMACSHA256.HashData(key, Encoding.UTF8.GetBytes($"{id}.{time}.{body}"));
    var age =
        TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() - (long.TryParse(time, out var seconds) ? seconds : 0);
    if (
        Math.Abs(age) > 300
        || !$"{request.Headers["webhook-signature"]}".Split(' ').Contains("v1," + Convert.ToBase64String(hash))
    )
    {
        return Results.Unauthorized();
    }

    var uplink = JsonElement.Parse(body);
    var (type, user) = ($"{uplink.GetProperty("type")}", $"{uplink.GetProperty("user")}");
    var said = type == "message" ? $"{uplink.GetProperty("data")}" : "";
    object[] messages = type switch
    {
        "connect" => [new { to = user, data = $"Hello {user}." }],
        "message" when said.StartsWith("all: ") => [new { data = $"{user}: {said[5..]}" }],
        "message" => [new { to = user, data = $"At {uplink.GetProperty("time")} you said: {said}" }],
        _ => [],
    };
    return Results.Json(new { messages });
});

app.Run();
return 0;
