namespace Dmb.Bench.Peers.AspNet;

/// <summary>One route that answers: what an ASP.NET Core program costs that does nothing.</summary>
internal static class Bare
{
    public static void Run(WebApplicationBuilder builder)
    {
        var app = builder.Build();
        app.MapPost("/pub/{room}", context => context.Response.WriteAsync("{\"ok\":true}"));
        app.Run();
    }
}
