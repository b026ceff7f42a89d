import { HttpClient, provideHttpClient } from '@angular/common/http';
import { Component, inject, signal } from '@angular/core';
import { bootstrapApplication } from '@angular/platform-browser';

/** Its style is inserted when it is first shown, as every component's is. */
@Component({
  selector: 'app-greeting',
  template: '<p class="greeting">{{ name() }}</p>',
  styles: '.greeting { color: rgb(1, 2, 3) }',
})
class Greeting {
  protected readonly name = signal('…');

  constructor() {
    inject(HttpClient)
      .get<{ sub: string }>('/api/me')
      .subscribe(({ sub }) => this.name.set(sub));
  }
}

@Component({ selector: 'app-root', imports: [Greeting], template: '<h1 class="title">Shop</h1><app-greeting />' })
class App {}

void bootstrapApplication(App, { providers: [provideHttpClient()] });
